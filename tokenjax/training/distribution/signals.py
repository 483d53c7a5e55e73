"""A wish to stop, by signal or by the cluster, taken up between two steps.

One process notes SIGTERM and SIGINT itself. Of several processes whichever is told to
go tells the others through JAX's preemption service, which has all of them stop after
the same step: the first that none has reached yet.
"""

import signal
from types import FrameType
from typing import ClassVar

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Context manager; ask `reached()` once after every step.

    A second signal acts as usual, so an impatient Ctrl-C still ends the program.
    """

    # The service wants one row of numbers without gaps for the life of a process, alike
    # in all processes. Steps are none: a run that goes on does not begin at 1.
    _asked: ClassVar[int] = 0

    def __init__(self) -> None:
        self._alone = jax.process_count() == 1
        self._requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        # Of several processes the service catches SIGTERM.
        numbers = (signal.SIGTERM, signal.SIGINT) if self._alone else (signal.SIGINT,)
        for number in numbers:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def reached(self) -> bool:
        """Return whether the run stops here; of several processes all must ask."""
        if self._alone:
            return self._requested
        StopRequest._asked += 1
        return multihost_utils.reached_preemption_sync_point(StopRequest._asked)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._requested = True
        signal.signal(number, self._previous[number])  # type: ignore[arg-type]
        if not self._alone:
            signal.raise_signal(signal.SIGTERM)
