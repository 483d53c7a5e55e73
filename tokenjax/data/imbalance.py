"""Training sets thinned to an imbalance between classes.

With M examples in the largest class, K classes, and ratio = smallest / largest, class
i of 0..K-1 keeps, of what it has and rounded down,

    linear        M - (M - m) i / (K - 1)   with m = M ratio rounded down (CIFAR-ViT)
    exponential   M ratio^(i / (K - 1))     long-tailed (CIFAR-LT: Cui et al. 2019,
                                            arXiv 1901.05555)

Validation and test stay as they are. CIFAR-ViT validates on the first 5000 examples
that training left out, which is the opposite imbalance; that is not repeated here.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tokenjax.data.dataset import Dataset, Subset
from tokenjax.errors import DatasetError, unknown_name

PROFILES = ("linear", "exponential")


def class_counts(
    profile: str,
    available: np.ndarray,
    ratio: float,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Return how many examples each class keeps, (classes,) int64.

    Args:
      profile: "linear" or "exponential", see above.
      available: (classes,) examples that each class has.
      ratio: smallest class over largest, in (0, 1]; a single class keeps all it has.
      class_names: (classes,) for the messages alone.

    Raises:
      DatasetError: an unknown profile, a ratio out of range, a class that has no
        examples or would keep none.
    """
    if profile not in PROFILES:
        raise DatasetError(unknown_name("imbalance profile", profile, PROFILES))
    if not 0 < ratio <= 1:
        raise DatasetError(
            "the imbalance ratio is the smallest class over the largest, within "
            f"(0, 1] (an imbalance of 100 is 0.01), got {ratio}"
        )
    available = np.asarray(available)
    if available.min() < 1:
        index = int(np.argmax(available < 1))
        raise DatasetError(
            f"{_class_name(index, class_names)} has no training examples to keep: "
            "leave the class out, or hold back less for validation and test"
        )
    largest = int(available.max())
    wanted = [
        _kept(profile, largest, ratio, index, len(available))
        for index in range(len(available))
    ]
    counts = np.minimum(np.array(wanted, np.int64), available)  # (classes,)
    if counts.min() < 1:
        index = int(np.argmax(counts < 1))
        raise DatasetError(
            f"an imbalance ratio of {ratio} would keep none of the {available[index]} "
            f"training examples of {_class_name(index, class_names)}: use a ratio of "
            f"1/{largest} or more"
        )
    return counts


def _kept(
    profile: str, largest: int, ratio: float, index: int, num_classes: int
) -> int:
    # Python's own numbers: numpy's powers differ by machine in the last digit, which
    # rounding down would turn into one example more or less.
    steps = max(num_classes - 1, 1)
    if profile == "exponential":
        return int(largest * ratio ** (index / steps))
    smallest = int(largest * ratio)
    # The product before the quotient: 5000 - 4500 * 7 / 9 is 1500, not 1499.99...
    return int(largest - (largest - smallest) * index / steps)


def _class_name(index: int, class_names: Sequence[str] | None) -> str:
    return f"class {index}" + (f" ({class_names[index]!r})" if class_names else "")


def imbalanced_indices(labels: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Draw the examples that are kept, as indices int64 into `labels` (n,).

    In all (sum of counts,), class after class.

    counts[i] examples of class i, drawn without replacement. numpy's legacy generator
    is what CIFAR-ViT drew with: its seed 42 gives its recorded subset, on any version
    of numpy. Raises `DatasetError` for more examples than a class has, and for a seed
    outside 0..2^32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise DatasetError(f"an imbalance seed is within 0..2^32 - 1, got {seed}")
    random = np.random.RandomState(seed)
    kept = [np.empty(0, np.int64)]
    for index, count in enumerate(counts):
        members = np.flatnonzero(labels == index)
        if count > len(members):
            raise DatasetError(
                f"class {index} has {len(members)} examples, cannot keep {count}"
            )
        kept.append(random.choice(members, count, replace=False))
    return np.concatenate(kept)


def make_imbalanced(dataset: Dataset, profile: str, ratio: float, seed: int) -> Dataset:
    """Thin the train split of `dataset`; nothing is copied or read.

    `info.counts["train"]` follows; mean and std stay those of the whole source, so
    that runs of different ratios see the same inputs. Raises as `class_counts` and
    `imbalanced_indices` do.
    """
    info, labels = dataset.info, dataset.train.labels
    available = np.bincount(labels, minlength=info.num_classes)  # (classes,)
    counts = class_counts(profile, available, ratio, info.class_names)
    train = Subset(dataset.train, imbalanced_indices(labels, counts, seed))
    info = replace(info, counts=info.counts | {"train": counts})
    return replace(dataset, train=train, info=info)
