"""Samplers: the examples of a training batch, as a function of (seed, step) alone.

There is no iterator state, so a run resumed at step i sees exactly what the
uninterrupted run saw.

Shuffled (`train_indices`): the stream is one permutation of the examples after another,
epoch by epoch, or, given weights, as many draws with replacement; batch `step` is its
slice [step * batch_size, (step + 1) * batch_size). Of a very large set no permutation
is drawn, see `tokenjax.data.order`.

By identity (`identity_indices`), as triplet losses need them: batches of P identities
with K instances each. One epoch: every identity's examples (fewer than K: K draws of
them with replacement) are shuffled and cut into groups of K, the remainder dropped; as
long as P identities have a group left, a batch takes one group each of P of those,
chosen at random. So the epoch ends early, its length varies, and an identity with a
single example comes as that example K times. The epochs of one seed follow one another,
and where each starts is found by walking them from the first, once.
Source: RandomIdentitySampler of DeMo and its kin (Hermans et al. 2017, 1703.07737).
"""

import bisect
import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tokenjax.data.order import shuffled
from tokenjax.data.partition import generator
from tokenjax.errors import DatasetError

Rows = np.ndarray | slice  # numbers (n,) of rows of a batch
ALL_ROWS = slice(None)
EPOCHS_KEPT = 2  # a reader ahead of another by a few batches stays within two


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
    rows: Rows = ALL_ROWS,
) -> np.ndarray:
    """Return the indices (batch_size,) int64 of the global batch number `step`.

    Of `rows` of it alone, if they are given.

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
    positions = step * batch_size + np.arange(batch_size)[rows]
    epochs, places = np.divmod(positions, num_examples)
    indices = np.empty(len(positions), np.int64)
    for epoch in np.unique(epochs).tolist():
        here = epochs == epoch
        if weights is None:
            indices[here] = shuffled((seed, epoch), num_examples, places[here])
        else:
            draws = _weighted_draws(seed, epoch, _Identity(weights))
            indices[here] = draws[places[here]]
    return indices


def sampling_weights(labels: np.ndarray) -> np.ndarray:
    """Return 1 / examples of the sample's class, (n,), for `labels` (n,) from 0.

    Every class is then drawn equally often by `train_batches(..., weights=...)`. The
    array is read-only: batches are a function of it, for a whole run.
    """
    counts = np.bincount(labels)  # (classes,)
    weights = 1 / counts[labels]  # (n,)
    weights.flags.writeable = False
    return weights


def identity_epoch(
    labels: np.ndarray,
    identities_per_batch: int,
    instances: int,
    random: np.random.Generator,
) -> np.ndarray:
    """Draw one epoch: (batches, identities * instances) int64 into `labels` (n,).

    A row holds identity after identity, `instances` of each. Of `random` only
    `shuffle` and `choice` are used. Raises `DatasetError` for too few identities.
    """
    first_seen: dict[int, list[int]] = {}
    for index, label in enumerate(labels.tolist()):
        first_seen.setdefault(label, []).append(index)
    if not 1 <= identities_per_batch <= len(first_seen) or instances < 1:
        raise DatasetError(
            f"a batch of {identities_per_batch} identities x {instances} instances "
            f"cannot be drawn from {len(first_seen)} identities: both are 1 or more, "
            "and there must be at least as many identities as a batch holds"
        )
    groups: dict[int, list[np.ndarray]] = {}
    for label, members in first_seen.items():
        indices = np.array(members, np.int64)
        if len(indices) < instances:
            indices = random.choice(indices, instances, replace=True)
        random.shuffle(indices)
        whole = len(indices) // instances * instances
        groups[label] = list(indices[:whole].reshape(-1, instances))

    batches = []
    available = list(first_seen)
    while len(available) >= identities_per_batch:
        chosen = random.choice(available, identities_per_batch, replace=False)
        batches.append(np.concatenate([groups[label].pop(0) for label in chosen]))
        available = [label for label in available if groups[label]]
    return np.stack(batches)


class _Stream:
    """The epochs of one seed in a row; remembers where each of them starts."""

    def __init__(
        self, labels: np.ndarray, seed: int, identities_per_batch: int, instances: int
    ) -> None:
        self.arguments = labels, identities_per_batch, instances
        self.seed = seed
        self.starts = [0]  # the first batch of every epoch walked, and of the next one
        self.kept: dict[int, np.ndarray] = {}  # epoch -> its batches, the latest few
        self.lock = threading.Lock()  # a prefetching thread and others may both read

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self.kept:
            batches = identity_epoch(*self.arguments, generator(self.seed, epoch))
            self.kept[epoch] = batches
            if len(self.kept) > EPOCHS_KEPT:
                del self.kept[next(iter(self.kept))]
        return self.kept[epoch]

    def batch(self, step: int) -> np.ndarray:
        with self.lock:
            while self.starts[-1] <= step:
                length = len(self._epoch(len(self.starts) - 1))
                self.starts.append(self.starts[-1] + length)
            epoch = bisect.bisect_right(self.starts, step) - 1
            return self._epoch(epoch)[step - self.starts[epoch]].copy()


@lru_cache(maxsize=4)
def _stream(seed: int, labels: bytes, *sizes: int) -> _Stream:
    return _Stream(np.frombuffer(labels, np.int64), seed, *sizes)


def identity_indices(
    labels: np.ndarray, seed: int, step: int, batch_size: int, instances: int
) -> np.ndarray:
    """Return the indices (batch_size,) int64 of batch number `step`.

    It holds batch_size / instances identities, `instances` examples of each, identity
    after identity.

    Raises `DatasetError` for a batch_size that `instances` does not divide, a step
    below 0, and fewer identities than a batch holds.
    """
    if instances < 1 or batch_size < 1 or batch_size % instances or step < 0:
        raise DatasetError(
            "batch_size must be a multiple of instances, both 1 or more, and step 0 or "
            f"more, got batch_size {batch_size}, instances {instances}, step {step}"
        )
    # By content, not by object: whoever writes to the labels gets another stream.
    content = labels.astype(np.int64).tobytes()
    return _stream(seed, content, batch_size // instances, instances).batch(step)
