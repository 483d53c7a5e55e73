"""Batches of P identities with K instances each, as triplet losses need them.

One epoch: every identity's examples (fewer than K: K draws of them with replacement)
are shuffled and cut into groups of K, the remainder dropped; as long as P identities
have a group left, a batch takes one group each of P of those, chosen at random. So the
epoch ends early, its length varies, and an identity with a single example comes as
that example K times.

Batch number i is a function of (seed, i) alone: the epochs of one seed follow one
another, and where each starts is found by walking them from the first, once.
Source: RandomIdentitySampler of DeMo and its kin (Hermans et al. 2017, 1703.07737).
"""

import bisect
import threading
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from tokenjax.data.batches import ALL_ROWS, Batch, Rows
from tokenjax.data.dataset import Split
from tokenjax.data.partition import generator
from tokenjax.errors import DatasetError

EPOCHS_KEPT = 2  # a reader ahead of another by a few batches stays within two


def identity_epoch(
    labels: np.ndarray,
    identities_per_batch: int,
    instances: int,
    random: np.random.Generator,
) -> np.ndarray:
    """Indices (batches, identities_per_batch * instances) int64 into `labels` (n,).

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
    """Indices (batch_size,) int64 of batch number `step`: batch_size / instances
    identities, `instances` of each, identity after identity.

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


def identity_batches(
    split: Split,
    seed: int,
    batch_size: int,
    instances: int,
    start_step: int,
    stop_step: int,
    rows: Rows = ALL_ROWS,
) -> Iterator[Batch]:
    """Training batches number start_step to stop_step - 1, see `identity_indices`.

    `rows`: of every batch, those that are gathered.
    """
    for step in range(start_step, stop_step):
        indices = identity_indices(split.labels, seed, step, batch_size, instances)
        yield split.gather(indices[rows])
