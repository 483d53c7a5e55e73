"""A step's process, in a group of its own: begun, paused, ended; its result."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

from tokenjax import storage
from tokenjax.device_check import process_tree
from tokenjax.device_check import task as tasks
from tokenjax.device_check.plan import Step
from tokenjax.device_check.turns import Giver

COMMAND = (sys.executable, "-m", "tokenjax.device_check.process")
OK, FAILED, TIMED_OUT, SKIPPED = "ok", "failed", "timed out", "skipped"
TAIL = 2000  # characters of what a step printed, kept where it is not ok
NOTHING: dict[str, Any] = {
    "headline": "",
    "failures": [],
    "skipped": "",
    "figures": {},
}


class Settings(NamedTuple):
    """How steps are run.

    Attributes:
      minutes: for all of them.
      tiny: small sizes.
      together: how many may prepare at once, of those that share; 0: what is right for
        the device that the first step finds.
      work: a folder for files of this check alone.
      environment: of the processes.
      command: that does a step, to which the file of its task is added.
    """

    minutes: float
    tiny: bool
    together: int
    work: pathlib.Path
    environment: dict[str, str]
    command: Sequence[str] = COMMAND


Result = dict[str, object]  # of one step, as it is in the JSON


class StepProcess:
    """A step that runs."""

    def __init__(
        self,
        step: Step,
        settings: Settings,
        limit: float,
        stop: float,
        peak: object,
    ):
        folder = settings.work
        self.step, self.limit = step, limit
        self.findings = folder / f"{step.name}.findings"
        self.log = folder / f"{step.name}.log"
        self.started, self.paused, self._paused_at = time.monotonic(), 0.0, 0.0
        task = tasks.Task(
            name=step.name,
            module=step.module,
            arguments=dict(step.arguments),
            findings=str(self.findings),
            started=time.time(),
            seconds=limit,
            ends=time.time() + stop - time.monotonic(),
            tiny=settings.tiny,
            peak=peak if isinstance(peak, float) else None,
            turns=str(folder),
            work=str(folder / step.name),
        )
        os.mkdir(task.work)
        path = folder / f"{step.name}.task"
        tasks.write(path, task)
        self._output: IO[bytes] = open(self.log, "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*settings.command, str(path)],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=settings.environment,
        )

    def seconds(self) -> float:
        """Return how long it has run, without the turns of others."""
        now = time.monotonic()
        paused = self.paused + (now - self._paused_at if self._paused_at else 0.0)
        return now - self.started - paused

    def pause(self) -> None:
        """Stop the whole group, until it may go on."""
        self._signal(signal.SIGSTOP)
        self._paused_at = time.monotonic()

    def go_on(self, giver: Giver) -> None:
        """Let a paused group go on, and tell the step for how long it was paused."""
        if self._paused_at:
            self.paused += time.monotonic() - self._paused_at
            self._paused_at = 0.0
            giver.note(self.step.name, self.paused)
            self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End the whole group, which may outlive its first process, and what it began.

        A process that it began in a group of its own is one of its descendants, as long
        as those between live.
        """
        descendants = process_tree.descendants(self.process.pid)
        self._signal(signal.SIGKILL)
        for each in descendants:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        self.process.wait()
        self._output.close()

    def result(self, timed_out: bool) -> Result:
        """Return how it ended, with whatever it had found by then."""
        there = self.findings.exists()
        found: dict[str, Any] = storage.read_json(self.findings) if there else NOTHING
        status, reason = OK, ""
        if timed_out:
            status = TIMED_OUT
            reason = f"ended after {self.seconds():.0f} of its {self.limit:.0f} s"
        elif self.process.returncode:
            status, reason = FAILED, _crash(self.process.returncode)
        elif found["failures"]:
            status, reason = FAILED, "; ".join(found["failures"])
        elif found["skipped"]:
            status, reason = SKIPPED, found["skipped"]
        text = self.log.read_text("utf-8", errors="replace")
        return {
            **make_result(self.step, status, reason),
            "seconds": round(self.seconds(), 2),
            "limit_seconds": round(self.limit, 1),
            "paused_seconds": round(self.paused, 2),
            "headline": found["headline"],
            "failures": found["failures"],
            "figures": found["figures"],
            "log_tail": text[-TAIL:] if status in (FAILED, TIMED_OUT) else "",
        }

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def make_result(step: Step, status: str, reason: str) -> Result:
    """Return the result of a step that found nothing."""
    return {
        "name": step.name,
        "what": step.what,
        "status": status,
        "reason": reason,
        "seconds": 0.0,
        "headline": "",
        "failures": [],
        "figures": {},
    }


def _crash(status: int) -> str:
    if status < 0:
        return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"
