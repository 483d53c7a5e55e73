"""Where the time between two log rows goes, without a synchronisation per step.

    input_wait   the devices had nothing to do because no batch was there
    compute      whatever is left: the devices worked, or were being given work
    logging, checkpoint, evaluation   the loop itself was busy with that

Steps are dispatched ahead of the devices, so the loop may wait for a batch while they
still work on the steps before: that costs nothing. A thread notes when each step is
done, and of a wait [asked, given] for the batch of step i

    max(0, given - max(asked, done of step i - 1))

counts. That thread may learn of it late, when Python is busy elsewhere: a wait is
counted up to 5 ms (sys.getswitchinterval) too short, never too long.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

import jax

from tokenjax.training.state import Scalars

PARTS = ("input_wait", "compute", "logging", "checkpoint", "evaluation")


class StepTime:
    """The clock of a run; close it."""

    def __init__(self) -> None:
        self._waited = 0.0  # the thread's alone while steps are in its queue
        self._busy = dict.fromkeys(("logging", "checkpoint", "evaluation"), 0.0)
        self._asked = self._given = 0.0
        self._steps = 0
        self._begin = time.perf_counter()
        self._dispatched: queue.Queue[tuple[float, float, Scalars] | None] = (
            queue.Queue()
        )
        self._thread = threading.Thread(
            target=self._note_ends, name="tokenjax-step-time", daemon=True
        )
        self._thread.start()

    def start(self) -> None:
        """Forget what was before: the first step's compilation."""
        self.split()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time the asking for the next step's batch."""
        self._asked = time.perf_counter()
        try:
            yield
        finally:
            self._given = time.perf_counter()

    def dispatched(self, outputs: Scalars) -> None:
        """Note that the step is on its way; `outputs` it makes and does not donate."""
        self._steps += 1
        self._dispatched.put((self._asked, self._given, outputs))

    @contextlib.contextmanager
    def busy(self, part: str) -> Iterator[None]:
        """Time what the loop does while the devices have nothing to do."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._busy[part] += time.perf_counter() - begin

    def split(self) -> tuple[int, dict[str, float]]:
        """Return steps and seconds by part since it was asked before; start anew.

        To be called when the devices have just done all steps.
        """
        now = time.perf_counter()
        self._dispatched.join()
        seconds = {"input_wait": self._waited, "compute": 0.0, **self._busy}
        left = now - self._begin - sum(seconds.values())
        steps, seconds["compute"] = self._steps, max(left, 0.0)
        self._begin, self._steps, self._waited = now, 0, 0.0
        self._busy = dict.fromkeys(self._busy, 0.0)
        return steps, seconds

    def close(self) -> None:
        """End the thread, unless a device never answers."""
        self._dispatched.put(None)
        self._thread.join(timeout=5)

    def _note_ends(self) -> None:
        done = 0.0  # when the step before was
        while (item := self._dispatched.get()) is not None:
            asked, given, outputs = item
            self._waited += max(0.0, given - max(asked, done))
            with contextlib.suppress(Exception):  # the loop itself meets it
                jax.block_until_ready(outputs)
            done = time.perf_counter()
            self._dispatched.task_done()


def as_scalars(steps: int, seconds: dict[str, float]) -> dict[str, float]:
    """Return what is logged of a split; {} when no step was taken.

    `time/per_step` and `time/<part>` are seconds per step, evaluation left out of the
    first; `time_share/<part>` are shares of all the time, which add up to 1.
    """
    total = sum(seconds.values())
    if not steps or not total:
        return {}
    return {
        "time/per_step": (total - seconds["evaluation"]) / steps,
        **{f"time/{part}": seconds[part] / steps for part in PARTS},
        **{f"time_share/{part}": seconds[part] / total for part in PARTS},
    }
