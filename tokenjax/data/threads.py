"""Threads that make images."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_LIMIT: int | None = None  # of this process, which shares the machine with its like


def limit_threads(count: int) -> None:
    """Let `thread_count` say no more than `count` in this process, unless told."""
    global _LIMIT
    _LIMIT = count


def core_count() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(num_threads: int) -> int:
    """Return `num_threads`, or this process's cores, or its share of them, when 0."""
    if num_threads > 0:
        return num_threads
    return core_count() if _LIMIT is None else _LIMIT


class ReadingThreads:
    """Threads that make images, so many at a time (0: one per core)."""

    def __init__(self, num_threads: int) -> None:
        self._count = thread_count(num_threads)
        self._pool = ThreadPoolExecutor(self._count, "tokenjax-read")

    def read(
        self,
        read: Callable[[int], np.ndarray],
        examples: Iterable[int],
        image_shape: tuple[int, int, int],
    ) -> np.ndarray:
        """Return what `read` makes of each example, uint8 (examples, *image_shape)."""
        rows = list(examples)
        images = np.empty((len(rows), *image_shape), np.uint8)

        def fill(row: int) -> None:
            images[row] = read(rows[row])

        for _ in self._pool.map(fill, range(len(rows))):
            pass
        return images
