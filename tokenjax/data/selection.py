"""Some classes of a data set, and so many training or test images of each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tokenjax.data.classes import Relabelled
from tokenjax.data.dataset import Dataset, Split, Subset
from tokenjax.data.images.image_files import abridged
from tokenjax.data.partition import generator
from tokenjax.data.reid_dataset import ReidInfo
from tokenjax.errors import DatasetError, unknown_name


def select_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Return the data of these classes alone, labelled in the order they are named in.

    Mean and std stay those of all the training images.

    Raises: DatasetError for a class that is not there or named twice, and for a split
      without labels that are classes.
    """
    info = dataset.info
    if isinstance(info, ReidInfo):
        raise DatasetError(f"data.classes: {info.name} has identities, not classes")
    if len(set(classes)) != len(classes):
        raise DatasetError(
            f"data.classes names a class twice: {abridged(list(classes))}"
        )
    for name in classes:
        if name not in info.class_names:
            kind = f"data.classes: class of {info.name}"
            raise DatasetError(unknown_name(kind, name, info.class_names))
    numbers = np.full(len(info.class_names), -1, np.int32)
    numbers[[info.class_names.index(name) for name in classes]] = np.arange(
        len(classes)
    )

    def take(split: Split) -> Split:
        rows = np.flatnonzero(numbers[split.labels] >= 0)
        return Relabelled(Subset(split, rows), numbers)

    splits = {
        name: take(dataset.split(name)) for name in ("train", "validation", "test")
    }
    counts = {
        name: np.bincount(split.labels, minlength=len(classes))
        for name, split in splits.items()
    }
    named = replace(
        info, class_names=tuple(classes), num_classes=len(classes), counts=counts
    )
    return Dataset(**splits, info=named)


def limit_classes(dataset: Dataset, name: str, count: int, seed: int) -> Dataset:
    """Return the data with at most `count` images of each class in the split `name`.

    They are drawn by `seed`; a smaller count takes some of a larger one's. The other
    splits stay as they are, and so do mean and std.
    """
    split = dataset.split(name)
    if not len(split):
        return dataset
    order = generator(seed).permutation(len(split))
    labels = split.labels
    kept = [order[labels[order] == label][:count] for label in np.unique(labels)]
    limited = Subset(split, np.sort(np.concatenate(kept)))
    info = dataset.info
    counts = np.bincount(limited.labels, minlength=info.num_classes)
    info = replace(info, counts=info.counts | {name: counts})
    return replace(dataset, info=info, **{name: limited})
