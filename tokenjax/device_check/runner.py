"""Runs the steps in their order, gives turns, and ends what takes too long."""

import time
from collections.abc import Callable, Sequence

from tokenjax.device_check import plan
from tokenjax.device_check.plan import Step
from tokenjax.device_check.step_process import (
    SKIPPED,
    Result,
    Settings,
    StepProcess,
    make_result,
)
from tokenjax.device_check.turns import Giver

LOOK = 0.02  # seconds between looks at what runs


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
        self.running: list[StepProcess] = []
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
        """Begin as many of the next steps as may run now; none in another's turn."""
        while (
            not self.giver.holder and self.waiting and self._has_room(self.waiting[0])
        ):
            step = self.waiting.pop(0)
            left = self.stop - time.monotonic()
            limit = step.seconds * self.settings.minutes / plan.MINUTES
            if left < plan.LEAST * limit:
                reason = f"{max(left, 0):.0f} s of the time were left"
                self._add(make_result(step, SKIPPED, reason), "")
                continue
            limit = min(limit, left)
            running = StepProcess(step, self.settings, limit, self.stop, self.peak)
            self.running.append(running)

    def _has_room(self, step: Step) -> bool:
        if not self.running:
            return True
        alone = not (step.shares and all(each.step.shares for each in self.running))
        return not alone and len(self.running) < self.together

    def _look(self) -> None:
        """Take in what has ended, and end what takes too long."""
        for each in list(self.running):
            ended = each.process.poll() is not None
            over = each.seconds() > each.limit or time.monotonic() > self.stop
            late = not ended and over
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
