"""What a step finds, written as it comes: a step that is ended keeps what it had.

{"headline": "...", "failures": [...], "skipped": "", "figures": {...}}
"""

import contextlib
import math
import pathlib
import threading
import time
from collections.abc import Iterator

from tokenjax import storage
from tokenjax.device_check.turns import Turns

Figures = dict[str, object]


class Skipped(Exception):
    """Says why a step cannot be done here; nothing is wrong."""


class Findings:
    """The figures of one step, in a file.

    Attributes:
      figures: by name; whatever JSON takes.
      failures: sentences on what is wrong.
      headline: a line for the table.
      skipped: why the step was left out, "" if it was not.
    """

    def __init__(
        self,
        path: pathlib.Path,
        started: float,
        turns: Turns | None = None,
        limit: float = math.inf,
        ends: float = math.inf,
    ):
        """Begin with nothing.

        Args:
          path: of the file.
          started: when the step's process was started, as `time.time` has it.
          turns: whom to ask for the device; None: it is there for this process alone.
          limit: seconds that the step may take, without pauses.
          ends: the moment at which the whole check does, as `time.time` has it.
        """
        self.figures: Figures = {}
        self.failures: list[str] = []
        self.headline = self.skipped = ""
        self._path, self._started, self._turns = path, started, turns
        self._limit, self._ends = limit, ends
        self._lock = threading.RLock()  # threads that compile add what they have

    def seconds(self) -> float:
        """Return the seconds since the step's process was started, without pauses."""
        paused = self._turns.paused() if self._turns else 0.0
        return time.time() - self._started - paused

    def left(self) -> float:
        """Return the seconds that are left to the step."""
        return min(self._limit - self.seconds(), self._ends - time.time())

    def add(self, **figures: object) -> None:
        """Add figures, and write all."""
        with self._lock:
            self.figures.update(figures)
            self._write()

    def add_row(self, row: Figures, table: str = "rows") -> None:
        """Add a row to a table among the figures, and write all."""
        with self._lock:
            rows = self.figures.setdefault(table, [])
            assert isinstance(rows, list)
            rows.append(row)
            self._write()

    def say(self, headline: str) -> None:
        """Set the line of the table, and write all."""
        self.headline = headline
        self._write()

    def fail(self, sentence: str) -> None:
        """Add what is wrong, and write all."""
        with self._lock:
            self.failures.append(sentence)
            self._write()

    def skip(self, reason: str) -> None:
        """Say why the step is left out, and write all."""
        self.skipped = reason
        self._write()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Have the device to oneself: no other step computes within."""
        if self._turns is None:
            yield
            return
        with self._turns.taken():
            yield

    def _write(self) -> None:
        value = {
            "headline": self.headline,
            "failures": self.failures,
            "skipped": self.skipped,
            "figures": self.figures,
        }
        storage.write_json(self._path, value)
