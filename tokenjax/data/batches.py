"""Batches as a function of (seed, step), and a thread that makes them ahead of time.

The training stream is one permutation of the examples after another, epoch by epoch,
or, given weights, as many draws with replacement; batch `step` is its slice
[step * batch_size, (step + 1) * batch_size). There is no iterator state: a run resumed
at step i sees exactly what the uninterrupted run saw.
Evaluation passes over every example once and masks what pads the last batch.
A process of several gathers the rows of a batch that its devices hold, and no others.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from tokenjax.data.dataset import Split
from tokenjax.data.partition import generator
from tokenjax.errors import DatasetError

Item = TypeVar("Item")
Batch = dict[str, np.ndarray]
Rows = np.ndarray | slice  # numbers (n,) of rows of a batch
ALL_ROWS = slice(None)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    order = generator(seed, epoch).permutation(num_examples)  # (num_examples,) int64
    order.flags.writeable = False  # the cache hands the same array to every caller
    return order


@dataclass(frozen=True, eq=False)
class _Identity:
    """An array as a cache's key: no other array equals it, whatever it holds.

    The cache keeps the array alive, so that its identity cannot pass to a new one.
    """

    array: np.ndarray

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.array is other.array


@lru_cache(maxsize=4)
def _weighted_draws(seed: int, epoch: int, key: _Identity) -> np.ndarray:
    weights = key.array.astype(np.float64)  # (n,); numpy wants a total of exactly 1
    total = weights.sum()
    if not ((weights >= 0).all() and 0 < total < np.inf):
        raise DatasetError(
            "sampling weights must be finite, 0 or more, and not all of them 0"
        )
    size = len(weights)
    draws = generator(seed, epoch).choice(size, size, p=weights / total)  # (n,) int64
    draws.flags.writeable = False
    return draws


def train_indices(
    seed: int,
    step: int,
    batch_size: int,
    num_examples: int,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Indices (batch_size,) int64 of the global batch number `step`.

    A batch may span epochs, and `batch_size` may exceed `num_examples`. With `weights`
    (num_examples,), an epoch is `num_examples` draws with replacement, example i with
    probability weights[i] / sum of weights, instead of a permutation. An epoch is drawn
    once for all its steps as long as the same array is passed: never write to it.

    Raises `DatasetError` for sizes below 1, a step below 0, and weights of another
    shape, below 0, not finite or all 0.
    """
    if batch_size < 1 or num_examples < 1 or step < 0:
        raise DatasetError(
            "a batch needs batch_size >= 1, examples >= 1 and step >= 0, got "
            f"batch_size {batch_size}, {num_examples} examples, step {step}"
        )
    if weights is not None and weights.shape != (num_examples,):
        raise DatasetError(
            f"sampling weights must be ({num_examples},), got shape {weights.shape}"
        )
    position, stop = step * batch_size, (step + 1) * batch_size
    pieces = []
    while position < stop:
        epoch, offset = divmod(position, num_examples)
        if weights is None:
            order = _permutation(seed, epoch, num_examples)
        else:
            order = _weighted_draws(seed, epoch, _Identity(weights))
        pieces.append(order[offset : offset + stop - position])
        position += len(pieces[-1])
    return np.concatenate(pieces)


def train_batches(
    split: Split,
    seed: int,
    batch_size: int,
    start_step: int,
    stop_step: int,
    weights: np.ndarray | None = None,
    rows: Rows = ALL_ROWS,
) -> Iterator[Batch]:
    """Training batches number start_step to stop_step - 1, of `batch_size` examples.

    `weights` (examples of the split,): as in `train_indices`. `rows`: of every batch,
    those that are gathered.
    """
    for step in range(start_step, stop_step):
        indices = train_indices(seed, step, batch_size, len(split), weights)
        yield split.gather(indices[rows])


def evaluation_batches(
    split: Split, batch_size: int, rows: Rows = ALL_ROWS
) -> Iterator[Batch]:
    """Every example once, in order, in batches of one size.

    "mask" (batch_size,) bool is False on the rows that pad the last batch, which
    repeat the last example. `rows`: of every batch, those that are gathered.
    """
    if batch_size < 1:
        raise DatasetError(f"batch_size must be 1 or more, got {batch_size}")
    for start in range(0, len(split), batch_size):
        indices = np.arange(start, start + batch_size)[rows]
        batch = split.gather(np.minimum(indices, len(split) - 1))
        yield batch | {"mask": indices < len(split)}


class _Buffer:
    """A bounded queue between one producer and one consumer, which either may end."""

    def __init__(self, size: int) -> None:
        self.items: deque[Any] = deque()
        self.size = size
        self.closed = False  # the consumer left
        self.finished = False  # the producer ended, by `error` if that is set
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def put(self, item: Any) -> bool:
        """Waits for room; False when the consumer has left."""
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
        """Waits for an item; False when none will come. Raises the producer's error."""
        with self.changed:
            self.changed.wait_for(lambda: self.items or self.finished)
            if not self.items and self.error is not None:
                raise self.error
            return bool(self.items)

    def take(self) -> Any:
        with self.changed:
            self.changed.notify_all()
            return self.items.popleft()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.items.clear()
            self.changed.notify_all()


def _produce(
    iterator: Iterable[Any], buffer: _Buffer, transform: Callable[[Any], Any] | None
) -> None:
    error: BaseException | None = None
    try:
        for item in iterator:
            if not buffer.put(item if transform is None else transform(item)):
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
    """The items of `iterator`, up to `size` of them made ahead by one thread.

    `transform` (a transfer to the device, say) runs in that thread too. An exception
    of either is raised here after the items that came before it. The thread starts
    at the first item asked for, and ends with the generator: exhausted, closed or
    forgotten.
    """
    if size < 1:
        raise DatasetError(f"prefetch size must be 1 or more, got {size}")
    return _prefetch(iterator, size, transform)


def _prefetch(
    iterator: Iterable[Any], size: int, transform: Callable[[Any], Any] | None
) -> Generator[Any, None, None]:
    buffer = _Buffer(size)
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
