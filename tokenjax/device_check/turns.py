"""One step measures at a time: it asks with a file, and is answered with one.

Whoever runs the steps pauses the others' processes before it answers, and lets them go
on when the question is withdrawn. Meanwhile they may compile as they like.
"""

import contextlib
import pathlib
import time
from collections.abc import Iterator, Sequence

PAUSE = 0.005  # seconds between looks


class Turns:
    """The side of the step that asks."""

    def __init__(self, folder: pathlib.Path, name: str):
        self._question = question_file(folder, name)
        self._answer = answer_file(folder, name)
        self._note = note_file(folder, name)

    def paused(self) -> float:
        """Return the seconds that this step has been paused so far."""
        try:
            return float(self._note.read_text())
        except (OSError, ValueError):  # never, or this moment
            return 0.0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and give it back after."""
        self._question.touch()
        try:
            while not self._answer.exists():
                time.sleep(PAUSE)
            yield
        finally:
            self._question.unlink(missing_ok=True)
            while self._answer.exists():  # else the next question would find this one
                time.sleep(PAUSE)


class Giver:
    """The side of whoever runs the steps."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self.holder = ""

    def next(self, names: Sequence[str]) -> str:
        """Return whose turn begins, the first of those that ask; "" if none does."""
        if self.holder:
            return ""
        for name in names:
            if question_file(self._folder, name).exists():
                return name
        return ""

    def give(self, name: str) -> None:
        """Answer a step; the others are paused by now."""
        self.holder = name
        answer_file(self._folder, name).touch()

    def is_over(self, running: Sequence[str]) -> bool:
        """Return whether the holder has withdrawn its question, or has ended."""
        if not self.holder:
            return False
        asks = question_file(self._folder, self.holder).exists()
        return not asks or self.holder not in running

    def note(self, name: str, seconds: float) -> None:
        """Say how long a step has been paused."""
        note_file(self._folder, name).write_text(f"{seconds:.3f}")

    def end(self) -> None:
        """Take the turn back."""
        question_file(self._folder, self.holder).unlink(missing_ok=True)
        answer_file(self._folder, self.holder).unlink(missing_ok=True)
        self.holder = ""


def question_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Return the file by which a step asks."""
    return folder / f"{name}.asks"


def note_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Return the file that says how many seconds a step was paused."""
    return folder / f"{name}.paused"


def answer_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Return the file by which it is answered."""
    return folder / f"{name}.goes"
