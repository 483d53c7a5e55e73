"""Files kept open between reads, a bounded number of them, shared by threads.

A reader has a file for itself while it uses it; afterwards the file waits for the next
one. When more than `limit` wait, the one that waited longest is closed.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

File = TypeVar("File")
FILES_KEPT = 128  # a system allows 1024 to a process by default


class OpenFiles(Generic[File]):
    """Files by number, opened by `open_one` and closed by `close_one`."""

    def __init__(
        self,
        open_one: Callable[[int], File],
        close_one: Callable[[File], Any],
        limit: int = FILES_KEPT,
    ):
        self._open, self._close, self._limit = open_one, close_one, limit
        self._waiting: OrderedDict[tuple[int, int], File] = OrderedDict()
        self._by_number: dict[int, list[int]] = {}  # tickets of those that wait
        self._next_ticket = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def use(self, number: int) -> Iterator[File]:
        """Hand out a file for reading, to this thread alone."""
        file = self._take(number)
        if file is None:
            file = self._open(number)
        try:
            yield file
        except BaseException:
            self._close(file)
            raise
        self._give(number, file)

    def _take(self, number: int) -> File | None:
        with self._lock:
            tickets = self._by_number.get(number)
            if not tickets:
                return None
            ticket = tickets.pop()
            if not tickets:
                del self._by_number[number]
            return self._waiting.pop((number, ticket))

    def _give(self, number: int, file: File) -> None:
        oldest: File | None = None
        with self._lock:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._waiting[number, ticket] = file
            self._by_number.setdefault(number, []).append(ticket)
            if len(self._waiting) > self._limit:
                (other, waited), oldest = self._waiting.popitem(last=False)
                self._by_number[other].remove(waited)
                if not self._by_number[other]:
                    del self._by_number[other]
        if oldest is not None:
            self._close(oldest)
