"""Says when a run waits for its data: that it does, for how much, and what would help.

Two things are told apart: a pipeline that is too slow, seen in the shares of time, and
one that delivers nothing at all, which is said while it is waited for.
"""

import inspect
import threading
import time
from collections.abc import Callable

from tokenjax.data.sources import SOURCES

WINDOW_SECONDS = 10.0  # shares of less are moods of the machine
_REMEDIES = {  # argument of a source -> what to do with it
    "num_threads": "raise data.num_threads",
    "cache_bytes": "raise data.cache_bytes until the decoded set stays in memory",
}


class InputWatch:
    """Watches the waits for batches; close it.

    Args:
      source: of the data, as the configuration names it.
      largest_share: of the time; a larger one is a warning, once in a run.
      stalled_seconds: a wait this long is said while it lasts; 0: never.
      warn: takes a sentence.
    """

    def __init__(
        self,
        source: str,
        largest_share: float,
        stalled_seconds: float,
        warn: Callable[[str], None],
    ):
        self._source, self._warn = source, warn
        self._largest_share, self._stalled_seconds = largest_share, stalled_seconds
        self._waiting: tuple[int, float] | None = None  # step, since when
        self._seconds, self._waited, self._told = 0.0, 0.0, False
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name="tokenjax-input-watch", daemon=True
        )
        if stalled_seconds > 0:
            self._thread.start()

    def waiting(self, step: int) -> None:
        """Note that the batch of a step is asked for."""
        self._waiting = step, time.monotonic()

    def delivered(self) -> None:
        """Note that it is there."""
        self._waiting = None

    def judge(self, step: int, waited: float, seconds: float) -> None:
        """Add up the waits in a stretch of time, and warn when they are too much."""
        self._waited, self._seconds = self._waited + waited, self._seconds + seconds
        if self._seconds < WINDOW_SECONDS:
            return
        share = self._waited / self._seconds
        self._waited = self._seconds = 0.0
        if share > self._largest_share and not self._told:
            self._told = True
            self._warn(
                f"step {step}: the devices spend {share:.0%} of the time waiting for "
                f"batches of the source {self._source!r}; {advice(self._source)}"
            )

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        told: tuple[int, float] | None = None
        while not self._closed.wait(min(self._stalled_seconds / 4, 1.0)):
            waiting = self._waiting
            if waiting is None or waiting == told:
                continue
            step, since = waiting
            if time.monotonic() - since >= self._stalled_seconds:
                told = waiting
                self._warn(
                    f"no batch for step {step} in {self._stalled_seconds:g} s from the "
                    f"source {self._source!r}: its disk, network or decoding stands "
                    "still; waiting on"
                )


def advice(source: str) -> str:
    """Return what would make a source faster, in a few words."""
    known = SOURCES.get(source)
    arguments = inspect.signature(known).parameters if known else {}
    remedies = [text for name, text in _REMEDIES.items() if name in arguments]
    return ", or ".join([*remedies, "give the run more CPU cores"])
