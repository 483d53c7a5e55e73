"""Seeded random streams, and splits that keep the share of every class.

Every random choice on the host comes from `generator`: PCG64 seeded by a seed and a
path of integers, so that two purposes never share a stream and none of them depends
on what was drawn before.
"""

import numpy as np

from tokenjax.errors import DatasetError


def generator(seed: int, *path: int) -> np.random.Generator:
    """Return the random stream of (seed, *path), all of them integers from 0."""
    if seed < 0:
        raise DatasetError(f"a seed is an integer from 0, got {seed}")
    sequence = np.random.SeedSequence(seed, spawn_key=path)
    return np.random.Generator(np.random.PCG64(sequence))


def stratified_split(
    labels: np.ndarray, fractions: tuple[float, ...], seed: int
) -> list[np.ndarray]:
    """Split indices of `labels` (n,) by class in len(fractions) + 1 parts.

    The remainder, which is for training, comes first.

    Part k > 0 receives fractions[k - 1] of every class, rounded, but never the last
    example of a class that the remainder has none of. Each part is in random order.
    Raises `DatasetError` for fractions below 0 or of 1 and more in total.
    """
    if any(not 0 <= fraction < 1 for fraction in fractions) or sum(fractions) >= 1:
        raise DatasetError(
            "fractions held back from training must be from 0 to less than 1, and "
            f"less than 1 together, got {', '.join(map(str, fractions))}"
        )
    random = generator(seed)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(fractions) + 1)]
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        available = len(members) - 1  # one example at least stays for training
        for part, fraction in enumerate(fractions, start=1):
            count = min(round(fraction * len(members)), available)
            available -= count
            parts[part].append(members[available + 1 : available + 1 + count])
        parts[0].append(members[: available + 1])
    empty = np.empty(0, np.int64)
    return [random.permutation(np.concatenate([empty, *part])) for part in parts]
