"""Counts compilations, and warns of those in the middle of a run.

A training step and an evaluation compile when they run for the first time. Whatever
they compile later means that an input changed its shape or type, and costs a
compilation each time.
JAX tells of every compilation, one read from the cache included, in the thread that
asked for it (`jax_events.COMPILE`).
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import jax.monitoring

from tokenjax import jax_events

MOST_WARNINGS = 5


class Compilations:
    """Listens until it is closed.

    Args:
      warn: takes a sentence.
    """

    def __init__(self, warn: Callable[[str], None]):
        self._warn = warn
        self._part: tuple[str, int] | None = None  # its name, the step
        self._done: set[str] = set()  # parts that have run once
        self._thread = threading.get_ident()
        self._warnings = 0
        self._count, self._seconds = 0, 0.0
        self._lock = threading.Lock()  # other threads compile too
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    @contextlib.contextmanager
    def during(self, part: str, step: int) -> Iterator[None]:
        """Listen to a part of the loop, in the thread that made this object."""
        self._part = part, step
        try:
            yield
        finally:
            self._part = None
        self._done.add(part)

    def scalars(self) -> dict[str, float]:
        """Return how many since it was asked before, and how long they took."""
        with self._lock:
            found = {
                "compilation/count": float(self._count),
                "compilation/seconds": self._seconds,
            }
            self._count, self._seconds = 0, 0.0
        return found

    def close(self) -> None:
        """Listen no more."""
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event != jax_events.COMPILE:
            return
        with self._lock:
            self._count, self._seconds = self._count + 1, self._seconds + duration_secs
        if self._part is None or threading.get_ident() != self._thread:
            return
        part, step = self._part
        if part not in self._done or self._warnings == MOST_WARNINGS:
            return
        self._warnings += 1
        name = str(kwargs.get("fun_name", "a function"))
        last = "; more are counted alone" if self._warnings == MOST_WARNINGS else ""
        self._warn(
            f"step {step}: {name} was compiled in the middle of the run, by the "
            f"{part}, in {duration_secs:.1f} s: an input has changed its shape or "
            f"type{last}"
        )
