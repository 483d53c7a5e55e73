"""Training sets thinned to an imbalance between classes.

With M examples in the largest class, K classes, and ratio = smallest / largest, class
i of 0..K-1 keeps, of what it has and rounded down,

    linear        M - (M - m) i / (K - 1)   with m = M ratio rounded down (CIFAR-ViT)
    exponential   M ratio^(i / (K - 1))     long-tailed (CIFAR-LT: Cui et al. 2019,
                                            arXiv 1901.05555)

Validation and test stay as they are, unless validation is taken from the examples that
the thinning left out: see `validation_indices`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tokenjax.data.dataset import Dataset, Subset
from tokenjax.data.partition import generator
from tokenjax.errors import DatasetError, unknown_name

PROFILES = ("linear", "exponential")
RECORDED_VALIDATION = 5000
Validation = Literal["source", "left_out", "recorded"]


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


def make_imbalanced(
    dataset: Dataset,
    profile: str,
    ratio: float = 1.0,
    seed: int = 0,
    indices: np.ndarray | None = None,
    validation: Validation = "source",
) -> Dataset:
    """Thin the train split of `dataset`; nothing is copied or read.

    `info.counts["train"]` follows; mean and std stay those of the whole source, so
    that runs of different ratios see the same inputs.

    Args:
      dataset: what is thinned.
      profile: "linear" or "exponential"; not looked at with `indices`.
      ratio: smallest class over largest.
      seed: of the draw.
      indices: (m,) of the training examples that are kept, in place of a draw.
      validation: see `validation_indices`; "source" leaves it as it is.

    Raises: DatasetError, see `class_counts`, `imbalanced_indices`, `check_indices` and
      `validation_indices`.
    """
    info, labels = dataset.info, dataset.train.labels
    available = np.bincount(labels, minlength=info.num_classes)  # (classes,)
    if indices is None:
        counts = class_counts(profile, available, ratio, info.class_names)
        indices = imbalanced_indices(labels, counts, seed)
    else:
        check_indices(indices, len(labels))
        counts = np.bincount(labels[indices], minlength=info.num_classes)
    train = Subset(dataset.train, indices)
    changed = {"train": counts}
    if validation != "source":
        rest = validation_indices(labels, indices, validation)
        dataset = replace(dataset, validation=Subset(dataset.train, rest))
        found = np.bincount(dataset.validation.labels, minlength=info.num_classes)
        changed["validation"] = found
    info = replace(info, counts=info.counts | changed, whole_train=available)
    return replace(dataset, train=train, info=info)


def check_indices(indices: np.ndarray, examples: int) -> None:
    """Raise DatasetError unless they name distinct examples, of so many."""
    if not len(indices):
        raise DatasetError("a list of training examples that are kept names none")
    lowest, highest = int(indices.min()), int(indices.max())
    if lowest < 0 or highest >= examples:
        wrong = lowest if lowest < 0 else highest
        raise DatasetError(
            f"a list of training examples that are kept names number {wrong}, and the "
            f"source has 0 to {examples - 1}: the list is of another set, or of "
            "another data.validation_fraction"
        )
    if len(np.unique(indices)) < len(indices):
        raise DatasetError("a list of training examples that are kept names one twice")


def validation_indices(
    labels: np.ndarray, kept: np.ndarray, validation: Validation
) -> np.ndarray:
    """Return which of the examples that were left out are for validation, int64.

    "left_out": of every class that has any left equally many, as many as the class
    with the fewest has, the same ones under every seed. The largest class often keeps
    all it has and then is not among them. "recorded": CIFAR-ViT's first 5000 in the
    source's order, in which the classes are as uneven as in training, the other way
    round.

    Raises: DatasetError if nothing was left out.
    """
    left = np.setdiff1d(np.arange(len(labels)), kept)
    if not len(left):
        raise DatasetError(
            f'imbalance.validation "{validation}" takes training examples that the '
            "thinning left out, and it left out none"
        )
    if validation == "recorded":
        return left[:RECORDED_VALIDATION]
    counts = np.bincount(labels[left])
    there = np.flatnonzero(counts)
    random = generator(0)
    parts = [
        random.permutation(left[labels[left] == label])[: counts[there].min()]
        for label in there
    ]
    return np.sort(np.concatenate(parts))
