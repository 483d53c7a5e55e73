"""The order of a shuffled epoch, of any part of it at once.

Up to `MOST_PERMUTED` examples it is a permutation, drawn and kept. Of more none is
drawn: the example at each place is computed by itself, by Grain's `index_shuffle`, a
block cipher (Simon) on the numbers below the count, whose key is drawn from the same
stream.
"""

from functools import lru_cache

import numpy as np

from tokenjax.data.partition import generator
from tokenjax.errors import DatasetError

MOST_PERMUTED = 2**22  # examples: 32 MB of indices
MOST_CIPHERED = 2**32  # what index_shuffle takes
ROUNDS = 4  # of the cipher, as Grain itself has them


def shuffled(
    path: tuple[int, ...], num_examples: int, places: np.ndarray
) -> np.ndarray:
    """Return the examples at `places` (k,) of an order, (k,) int64.

    Each of `num_examples` has one place in the order of `path` (a seed, an epoch).

    Raises: DatasetError for more examples than can be ordered.
    """
    if num_examples <= MOST_PERMUTED:
        return _permutation(path, num_examples)[places]
    if num_examples > MOST_CIPHERED:
        raise DatasetError(
            f"{num_examples} examples are more than the {MOST_CIPHERED} that can be "
            "shuffled: train on a part of the shards"
        )
    return cipher(path, num_examples, places)


def cipher(path: tuple[int, ...], num_examples: int, places: np.ndarray) -> np.ndarray:
    """Return what `shuffled` does of many examples, in the memory of the answer.

    Raises: DatasetError if Grain is not installed.
    """
    try:
        from grain.experimental import index_shuffle
    except ImportError as error:
        raise DatasetError(
            f"so many examples are shuffled by Grain ({error}): pip install grain"
        ) from error

    key = int(generator(*path).integers(2**32))
    last = num_examples - 1
    found = (
        index_shuffle(place, max_index=last, seed=key, rounds=ROUNDS)
        for place in places.tolist()
    )
    return np.fromiter(found, np.int64, len(places))


def draw_some(path: tuple[int, ...], num_examples: int, count: int) -> np.ndarray:
    """Return `count` different examples in random order, int64.

    The memory is that of some times the answer, or of `MOST_PERMUTED` indices.
    """
    if num_examples <= MOST_PERMUTED:
        return _permutation(path, num_examples)[:count]
    random = generator(*path)
    found = np.empty(0, np.int64)
    while len(found) < count:
        more = random.integers(num_examples, size=count + count // 4 + 16)
        found = np.unique(np.concatenate([found, more]))
    return random.permutation(found)[:count]


@lru_cache(maxsize=4)
def _permutation(path: tuple[int, ...], num_examples: int) -> np.ndarray:
    order = generator(*path).permutation(num_examples)  # (num_examples,) int64
    order.flags.writeable = False  # the cache hands the same array to every caller
    return order
