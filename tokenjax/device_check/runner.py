"""Runs the steps, each in a process group of its own, and ends what takes too long."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple

from tokenjax import storage
from tokenjax.device_check import plan, process_tree
from tokenjax.device_check import task as tasks
from tokenjax.device_check.plan import Step
from tokenjax.device_check.turns import Giver

COMMAND = (sys.executable, "-m", "tokenjax.device_check.process")
LOOK = 0.02  # seconds between looks at what runs
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


class _Running:
    """A step's process."""

    def __init__(self, step: Step, settings: Settings, limit: float, peak: object):
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
        self._signal(signal.SIGSTOP)
        self._paused_at = time.monotonic()

    def go_on(self, giver: Giver) -> None:
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
            status, reason = TIMED_OUT, f"ended after its {self.limit:.0f} s"
        elif self.process.returncode:
            status, reason = FAILED, _crash(self.process.returncode)
        elif found["failures"]:
            status, reason = FAILED, "; ".join(found["failures"])
        elif found["skipped"]:
            status, reason = SKIPPED, found["skipped"]
        text = self.log.read_text("utf-8", errors="replace")
        return {
            **_result(self.step, status, reason),
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


def run(
    steps: Sequence[Step],
    settings: Settings,
    ended: Callable[[Result, str], None],
) -> list[Result]:
    """Run steps in their order until the minutes are up.

    Args:
      steps: to run.
      settings: how.
      ended: called with each step's result, and all that it printed.

    Returns: the results in the order in which the steps ended.
    """
    return _Run(list(steps), settings, ended).finish()


class _Run:
    def __init__(
        self,
        steps: list[Step],
        settings: Settings,
        ended: Callable[[Result, str], None],
    ):
        self.waiting, self.settings, self._ended = steps, settings, ended
        self.running: list[_Running] = []
        self.giver = Giver(settings.work)
        self.results: list[Result] = []
        self.stop = time.monotonic() + 60 * settings.minutes
        self.peak: object = None
        self.together = settings.together or 1

    def finish(self) -> list[Result]:
        try:
            while self.waiting or self.running:
                self._begin()
                self._look()
                self._give_turns()
                time.sleep(LOOK)
        finally:
            for each in self.running:
                each.end()
        return self.results

    def _begin(self) -> None:
        """Begin as many of the next steps as may run now."""
        while self.waiting and self._has_room(self.waiting[0]):
            step = self.waiting.pop(0)
            left = self.stop - time.monotonic()
            limit = step.seconds * self.settings.minutes / plan.MINUTES
            if left < plan.LEAST * limit:
                reason = f"{max(left, 0):.0f} s of the time were left"
                self._add(_result(step, SKIPPED, reason), "")
                continue
            limit = min(limit, left)
            self.running.append(_Running(step, self.settings, limit, self.peak))

    def _has_room(self, step: Step) -> bool:
        if not self.running:
            return True
        alone = not (step.shares and all(each.step.shares for each in self.running))
        return not alone and len(self.running) < self.together

    def _look(self) -> None:
        """Take in what has ended, and end what takes too long."""
        for each in list(self.running):
            ended = each.process.poll() is not None
            late = not ended and each.seconds() > each.limit
            if not (ended or late):
                continue
            each.end()
            self.running.remove(each)
            result = each.result(late)
            figures = result["figures"]
            assert isinstance(figures, dict)
            self.peak = figures.get("measured_peak_flops", self.peak)
            if not self.settings.together:
                self.together = int(str(figures.get("together", self.together)))
            self._add(result, each.log.read_text("utf-8", errors="replace"))

    def _add(self, result: Result, log: str) -> None:
        self.results.append(result)
        self._ended(result, log)

    def _give_turns(self) -> None:
        names = [each.step.name for each in self.running]
        if self.giver.is_over(names):
            self.giver.end()
            for each in self.running:
                each.go_on(self.giver)
        name = self.giver.next(names)
        if name:
            for each in self.running:
                if each.step.name != name:
                    each.pause()
            self.giver.give(name)


def _result(step: Step, status: str, reason: str) -> Result:
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
