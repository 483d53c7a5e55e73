"""Programs that are prepared in threads, while there is time for it.

XLA and PyTorch compile outside Python's lock, so several compile at once; XLA itself
sees to it that one of a process tries out kernels at a time.
"""

import concurrent.futures
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import jax

from tokenjax.device_check.findings import Findings
from tokenjax.device_check.task import Task
from tokenjax.errors import first_line

RESERVED = 0.25  # of the limit, but at most
RESERVED_SECONDS = 15.0  # to time what is there by then
MOST_THREADS = 4
LOOK = 0.5  # seconds between looks at the clock
LATE = "not ready in time"


class Jobs:
    """Each makes something, in a lane of so many threads; the first come first."""

    def __init__(
        self,
        task: Task,
        findings: Findings,
        lanes: Mapping[str, int],
        reserved: float = RESERVED_SECONDS,
    ):
        self._findings = findings
        self._reserved = min(RESERVED * task.seconds, reserved)
        self._pools = {name: ThreadPoolExecutor(n) for name, n in lanes.items()}
        self._jobs: dict[str, Future] = {}
        self._ready: dict[str, float] = {}

    def submit(self, lane: str, name: str, make: Callable[[], object]) -> None:
        """Begin a job, or put it in line."""
        self._jobs[name] = self._pools[lane].submit(self._run, name, make)

    def _run(self, name: str, make: Callable[[], object]) -> object:
        found = make()
        self._ready[name] = round(self._findings.seconds(), 2)
        self._findings.add(ready_seconds=dict(self._ready))
        return found

    def wait(self) -> None:
        """Wait for all, but leave some of the step's time; cancel what waits then."""
        waited = self._jobs.values()
        while any(not job.done() for job in waited):
            if self._findings.left() < self._reserved:
                break
            concurrent.futures.wait(waited, timeout=LOOK)
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def results(self) -> tuple[dict[str, object], dict[str, str]]:
        """Return what is ready, and of the others what is in the way, by name."""
        ready: dict[str, object] = {}
        problems: dict[str, str] = {}
        for name, job in self._jobs.items():
            if not job.done() or job.cancelled():
                problems[name] = LATE
            elif (error := job.exception()) is not None:
                problems[name] = f"{type(error).__name__}: {first_line(error)}"
            else:
                ready[name] = job.result()
        return ready, problems


def threads() -> int:
    """Return how many programs of ours to compile at once on this machine."""
    if jax.devices()[0].platform == "cpu":
        return 1
    return max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
