"""Classes are matched by name: another data set's labels in the weights' order.

A folder lists its classes in its own order, and may hold some of them alone. What
weights call class 3 is told by their card, never by a position.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tokenjax.data.dataset import Dataset, Split, digest, example_names
from tokenjax.data.identity import digest_arrays
from tokenjax.data.images.image_files import abridged
from tokenjax.data.reid_dataset import ReidInfo
from tokenjax.errors import DatasetError


@dataclass(frozen=True, eq=False)
class Relabelled:
    """A split whose label i is called numbers[i]."""

    source: Split
    numbers: np.ndarray  # (classes of the source,) int32

    @cached_property
    def labels(self) -> np.ndarray:
        return self.numbers[self.source.labels]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def __len__(self) -> int:
        return len(self.source)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = self.source.gather(indices)
        return {**batch, "label": self.numbers[batch["label"]]}

    def example_names(self) -> Sequence[str] | None:
        return example_names(self.source)

    def digest(self) -> str:
        source = np.frombuffer(bytes.fromhex(digest(self.source)), np.uint8)
        return digest_arrays(source, self.numbers)


def match_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Return the data with labels that count in `classes`.

    Some of them may be absent from the data. A re-identification set is evaluated on
    people of its own, whatever those trained on are called: it takes the names alone.

    Raises: DatasetError for a class that is none of them.
    """
    info, own = dataset.info, dataset.info.class_names
    if own == tuple(classes):
        return dataset
    named = replace(info, class_names=tuple(classes), num_classes=len(classes))
    if isinstance(info, ReidInfo):
        return replace(dataset, info=named)
    unknown = [repr(name) for name in own if name not in classes]
    if unknown:
        lacking = [repr(name) for name in classes if name not in own]
        rest = f"; without images there: {abridged(lacking)}" if lacking else ""
        raise DatasetError(
            f"{info.name} has classes that the weights do not know: "
            f"{abridged(unknown)} (they know {abridged(list(classes))}{rest}); name "
            "its classes as they were named in training"
        )
    numbers = np.array([classes.index(name) for name in own], np.int32)
    splits = {
        name: Relabelled(dataset.split(name), numbers)
        for name in ("train", "validation", "test")
    }
    counts = {
        name: np.bincount(split.labels, minlength=len(classes))
        for name, split in splits.items()
    }
    return Dataset(**splits, info=replace(named, counts=counts))
