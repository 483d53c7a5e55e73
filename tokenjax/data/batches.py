"""Batches of a split, and a thread that makes them ahead of time.

Which examples a training batch holds is a function of (seed, step), as
`tokenjax.data.samplers` says: a run resumed at step i sees exactly what the
uninterrupted run saw. Evaluation passes over every example once and masks what pads the
last batch. A process of several gathers the rows of a batch that its devices hold, and
no others.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from tokenjax.data.dataset import Split
from tokenjax.data.reading_processes import make_in_processes
from tokenjax.data.samplers import (
    ALL_ROWS,
    Rows,
    identity_indices,
    train_indices,
)
from tokenjax.errors import DatasetError

Item = TypeVar("Item")
Made = TypeVar("Made")  # of an item, by a transform
Batch = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Shuffled:
    """Makes batch number `step` of a shuffled stream; see `train_batches`."""

    split: Split
    seed: int
    batch_size: int
    weights: np.ndarray | None
    rows: Rows

    def __call__(self, step: int) -> Batch:
        return self.split.gather(
            train_indices(
                self.seed,
                step,
                self.batch_size,
                len(self.split),
                self.weights,
                self.rows,
            )
        )


@dataclass(frozen=True, eq=False)
class _OfIdentities:
    """Makes batch number `step` of identities; see `identity_batches`."""

    split: Split
    seed: int
    batch_size: int
    instances: int
    rows: Rows

    def __call__(self, step: int) -> Batch:
        labels = self.split.labels
        indices = identity_indices(
            labels, self.seed, step, self.batch_size, self.instances
        )
        return self.split.gather(indices[self.rows])


def _make(
    make: Callable[[int], Batch], start: int, stop: int, processes: int
) -> Generator[Batch, None, None]:
    if processes and start < stop:
        yield from make_in_processes(make, start, stop, processes)
    else:
        yield from map(make, range(start, stop))


def train_batches(
    split: Split,
    seed: int,
    batch_size: int,
    start_step: int,
    stop_step: int,
    weights: np.ndarray | None = None,
    rows: Rows = ALL_ROWS,
    processes: int = 0,
) -> Generator[Batch, None, None]:
    """Gather training batches number start_step to stop_step - 1 of a shuffled stream.

    `weights` (examples of the split,): as in `train_indices`. `rows`: of every batch,
    those that are gathered. `processes`: that make whole batches; 0: this one does.
    """
    make = _Shuffled(split, seed, batch_size, weights, rows)
    return _make(make, start_step, stop_step, processes)


def identity_batches(
    split: Split,
    seed: int,
    batch_size: int,
    instances: int,
    start_step: int,
    stop_step: int,
    rows: Rows = ALL_ROWS,
    processes: int = 0,
) -> Generator[Batch, None, None]:
    """Gather training batches number start_step to stop_step - 1 of identities.

    `rows`, `processes`: as in `train_batches`.
    """
    make = _OfIdentities(split, seed, batch_size, instances, rows)
    return _make(make, start_step, stop_step, processes)


def evaluation_batches(
    split: Split, batch_size: int, rows: Rows = ALL_ROWS
) -> Iterator[Batch]:
    """Gather every example once, in order, in batches of one size.

    "mask" (batch_size,) bool is False on the rows that pad the last batch, which
    repeat the last example. `rows`: of every batch, those that are gathered.
    """
    if batch_size < 1:
        raise DatasetError(f"batch_size must be 1 or more, got {batch_size}")
    for start in range(0, len(split), batch_size):
        indices = np.arange(start, start + batch_size)[rows]
        batch = split.gather(np.minimum(indices, len(split) - 1))
        yield batch | {"mask": indices < len(split)}


class _Buffer(Generic[Made]):
    """A bounded queue between one producer and one consumer, which either may end."""

    def __init__(self, size: int) -> None:
        self.items: deque[Made] = deque()
        self.size = size
        self.closed = False  # the consumer left
        self.finished = False  # the producer ended, by `error` if that is set
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def put(self, item: Made) -> bool:
        """Wait for room; return False when the consumer has left."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or len(self.items) < self.size)
            if not self.closed:
                self.items.append(item)
                self.changed.notify_all()
            return not self.closed

    def finish(self, error: BaseException | None) -> None:
        with self.changed:
            self.finished, self.error = True, error
            self.changed.notify_all()

    def wait(self) -> bool:
        """Wait for an item; return False when none will come.

        Raises the producer's error.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.items or self.finished)
            if not self.items and self.error is not None:
                raise self.error
            return bool(self.items)

    def take(self) -> Made:
        with self.changed:
            self.changed.notify_all()
            return self.items.popleft()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.items.clear()
            self.changed.notify_all()


def _produce(
    iterator: Iterable[Item],
    buffer: _Buffer[Made],
    transform: Callable[[Item], Made],
) -> None:
    error: BaseException | None = None
    try:
        for item in iterator:
            if not buffer.put(transform(item)):
                break
    except BaseException as raised:  # all of them belong to the consumer
        error = raised
    try:
        close = getattr(iterator, "close", None)  # a generator frees what it holds
        if close is not None:
            close()
    except BaseException as raised:
        error = error or raised
    buffer.finish(error)


def prefetch(
    iterator: Iterable[Item],
    size: int,
    transform: Callable[[Item], Any] | None = None,
) -> Generator[Any, None, None]:
    """Yield the items of `iterator`, up to `size` of them made ahead by one thread.

    `transform` (a transfer to the device, say) runs in that thread too. An exception
    of either is raised here after the items that came before it. The thread starts
    at the first item asked for, and ends with the generator: exhausted, closed or
    forgotten.
    """
    if size < 1:
        raise DatasetError(f"prefetch size must be 1 or more, got {size}")
    return _prefetch(iterator, size, transform or _unchanged)


def _unchanged(item: Item) -> Item:
    return item


def _prefetch(
    iterator: Iterable[Item], size: int, transform: Callable[[Item], Made]
) -> Generator[Made, None, None]:
    buffer: _Buffer[Made] = _Buffer(size)
    thread = threading.Thread(
        target=_produce,
        args=(iterator, buffer, transform),
        name="tokenjax-prefetch",
        daemon=True,
    )
    thread.start()
    try:
        while buffer.wait():
            yield buffer.take()
    finally:
        buffer.close()
        # The garbage collector may run this in the thread itself.
        if thread is not threading.current_thread():
            thread.join()
