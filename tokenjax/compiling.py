"""Say what is compiled, while that takes: on a GPU a program may take a minute.

In a terminal one line, which counts the seconds and goes when it is done; in a file a
line at the beginning and now and then. What took long is told at the end, with how long
it took. jax tells when it compiles (`jax_events`), so nothing is measured twice.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

import tqdm

from tokenjax import jax_events

PATIENCE = 2.0  # seconds; nothing is said of what takes less
TICK = 1.0  # seconds between counts in a terminal
FIRST_REMINDER = 30.0  # seconds until a file is told again; then twice as long each


@contextlib.contextmanager
def told(describe: Callable[[str], str]) -> Iterator[None]:
    """Tell of the programs that the calling thread compiles.

    Args:
      describe: of a program's name to what it is, as in "compiling {}".
    """
    watch = _Watch(describe)
    thread = threading.Thread(target=watch.tell, daemon=True)
    with jax_events.listening(watch.begin, watch.end):
        thread.start()
        try:
            yield
        finally:
            watch.close()
            thread.join()


class _Watch:
    """What is compiled now, seen by the thread that compiles and by one that tells."""

    def __init__(self, describe: Callable[[str], str]):
        self._describe = describe
        self._compiling = threading.get_ident()
        self._changed = threading.Condition()
        self._program: str | None = None
        self._began = self._done = 0.0  # when it began; when what was done last did
        self._closed = False

    def begin(self, event: str, value: float | int, **details: str | int) -> None:
        """Take what jax begins."""
        if event == jax_events.COMPILE and threading.get_ident() == self._compiling:
            name = jax_events.program_name(str(details.get("fun_name", "")))
            with self._changed:
                self._program, self._began = name, time.monotonic()
                self._changed.notify()

    def end(
        self, event: str, start_time: float, end_time: float, **details: str | int
    ) -> None:
        """Take what jax has done."""
        if event == jax_events.COMPILE and threading.get_ident() == self._compiling:
            with self._changed:
                self._program, self._done = None, self._began
                self._changed.notify()

    def close(self) -> None:
        """Let `tell` return."""
        with self._changed:
            self._closed, self._program = True, None
            self._changed.notify()

    def tell(self) -> None:
        """Tell of each program that takes long, until this is closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._program or self._closed)
                if self._closed:
                    return
                began, program = self._began, str(self._program)
                if self._is_over(began, PATIENCE):
                    continue
            self._follow(self._describe(program), began)

    def _is_over(self, began: float, seconds: float) -> bool:
        """Wait so long for the end of what began then; holds the lock."""
        return self._changed.wait_for(
            lambda: self._program is None or self._began != began, seconds
        )

    def _follow(self, what: str, began: float) -> None:
        if sys.stderr.isatty():
            self._count(what, began)
        else:
            self._remind(what, began)
        if self._done == began:
            _write(f"compiled {what} in {time.monotonic() - began:.0f} s")

    def _count(self, what: str, began: float) -> None:
        """Keep one line of a terminal up to date, below any bar that is there."""
        with tqdm.tqdm(bar_format="{desc}", leave=False, file=sys.stderr) as line:
            while True:
                passed = time.monotonic() - began
                line.set_description_str(f"compiling {what} ({passed:.0f} s so far)")
                with self._changed:
                    if self._is_over(began, TICK):
                        return

    def _remind(self, what: str, began: float) -> None:
        """Write a line now, and ever more rarely."""
        _write(f"compiling {what}")
        reminder = FIRST_REMINDER
        while True:
            with self._changed:
                if self._is_over(began, began + reminder - time.monotonic()):
                    return
            _write(f"compiling {what} ({reminder:.0f} s so far)")
            reminder *= 2


def _write(sentence: str) -> None:
    """Write a line on stderr that leaves bars whole."""
    tqdm.tqdm.write(sentence, file=sys.stderr)
    sys.stderr.flush()
