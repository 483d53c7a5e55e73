"""Seeded random streams, and splits: by class, or PyTorch's.

Every random choice on the host comes from `generator`: PCG64 seeded by a seed and a
path of integers, so that two purposes never share a stream and none of them depends
on what was drawn before.
"""

from typing import Literal

import numpy as np

from tokenjax.errors import DatasetError

Division = Literal["by_class", "random"]


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
    _check_fractions(fractions)
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


def random_split(
    count: int, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `count` examples as torch.utils.data.random_split does, without torch.

        train, validation = random_split(
            examples, [n, count - n], generator=torch.Generator().manual_seed(seed)
        )

    with n = int((1 - fraction) count): the same indices int64 in the same order. Both
    libraries have one Mersenne Twister; torch shuffles by swapping each place with one
    at or after it, (the twister's 32 bits) mod (places left) further on.

    Raises: DatasetError for a fraction below 0, or of 1 and more; a seed that does not
      fit the twister.
    """
    _check_fractions((fraction,))
    if not 0 <= seed < 2**32:
        raise DatasetError(
            f"the seed of a random split is within 0..2^32 - 1, got {seed}"
        )
    twister = np.random.RandomState(seed)
    draws = twister.randint(0, 2**32, max(count - 1, 0), dtype=np.uint32).tolist()
    order = list(range(count))
    for place, draw in enumerate(draws):
        other = place + draw % (count - place)
        order[place], order[other] = order[other], order[place]
    shuffled = np.array(order, np.int64)
    kept = int((1 - fraction) * count)
    return shuffled[:kept], shuffled[kept:]


def divide(
    labels: np.ndarray, fraction: float, seed: int, division: Division
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of `labels` (n,) for training, and those held back.

    `division` "by_class" is `stratified_split`, "random" `random_split`.
    """
    if division == "random":
        return random_split(len(labels), fraction, seed)
    kept, held_back = stratified_split(labels, (fraction,), seed)
    return kept, held_back


def _check_fractions(fractions: tuple[float, ...]) -> None:
    if any(not 0 <= fraction < 1 for fraction in fractions) or sum(fractions) >= 1:
        raise DatasetError(
            "fractions held back from training must be from 0 to less than 1, and "
            f"less than 1 together, got {', '.join(map(str, fractions))}"
        )
