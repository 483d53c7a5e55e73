"""Data sets as every source returns them: three splits read by index, and facts.

Images are uint8 (height, width, channels) of one size for a whole dataset; a split
hands out any rows of itself by index and holds no position, so batches, shuffling and
resumption are decided elsewhere (`tokenjax.data.batches`). All of them compare by
identity, for arrays have no single equality.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from tokenjax.data.identity import (
    Identified,
    Identity,
    digest_arrays,
    digest_names,
)
from tokenjax.data.order import draw_some
from tokenjax.data.preprocessing import Reading
from tokenjax.data.threads import ReadingThreads
from tokenjax.errors import DatasetError, unknown_name

STATISTICS_EXAMPLES = 10_000  # beyond this many, mean and std come from a sample

Channels = tuple[float, ...]


class Split(Protocol):
    """One part of a dataset: `labels` (n,) int32, and examples by index."""

    @property
    def labels(self) -> np.ndarray:
        """Class of every example, (n,) int32."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        ...

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return rows `indices` (batch,).

        "image" uint8 (batch, h, w, c), "label" int32 (batch,), and what else the source
        knows of an example.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """A split held in memory: `images` uint8 (n, h, w, c), `labels` int32 (n,).

    `extras` are further arrays of n rows that `gather` returns under their names;
    `identity` says what the examples are, where they are more than their pixels.
    """

    images: np.ndarray
    labels: np.ndarray
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    identity: Identity | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise TypeError(f"images: {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise TypeError(f"labels: {self.labels.dtype} {self.labels.shape}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.images.shape
        return height, width, channels

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = {"image": self.images[indices], "label": self.labels[indices]}
        return batch | {name: array[indices] for name, array in self.extras.items()}

    def example_names(self) -> Sequence[str] | None:
        return None if self.identity is None else self.identity.names

    def digest(self) -> str:
        if self.identity is not None:
            return digest_names(self.identity, self.labels)
        return digest_arrays(self.images, self.labels)


@dataclass(frozen=True, eq=False)
class LazySplit:
    """A split whose images are made on demand, several at a time, by threads.

    `read(index)` returns one uint8 image of `image_shape` or raises `DatasetError`;
    it is called from `num_threads` threads (0: one per core) at once. Other processes
    can read the split too if `read` can be pickled.
    """

    read: Callable[[int], np.ndarray]
    labels: np.ndarray  # (n,) int32
    image_shape: tuple[int, int, int]
    num_threads: int = 0
    identity: Identity | None = None

    def __getstate__(self) -> dict[str, object]:
        """Leave out the threads: another process starts its own."""
        return {key: self.__dict__[key] for key in self.__dataclass_fields__}

    @cached_property
    def _threads(self) -> ReadingThreads:
        return ReadingThreads(self.num_threads)

    def __len__(self) -> int:
        return len(self.labels)

    def example_names(self) -> Sequence[str] | None:
        return None if self.identity is None else self.identity.names

    def digest(self) -> str:
        if self.identity is not None:
            return digest_names(self.identity, self.labels)
        return digest_arrays(self.labels)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        examples = (int(index) for index in indices)
        images = self._threads.read(self.read, examples, self.image_shape)
        return {"image": images, "label": self.labels[indices]}


@dataclass(frozen=True, eq=False)
class Subset:
    """Rows `indices` (n,) of another split, in that order; nothing is copied."""

    source: Split
    indices: np.ndarray  # (n,) integers, each within 0..len(source) - 1

    def __post_init__(self) -> None:
        if self.indices.ndim != 1 or not np.issubdtype(self.indices.dtype, np.integer):
            raise TypeError(f"indices: {self.indices.dtype} {self.indices.shape}")

    @cached_property
    def labels(self) -> np.ndarray:
        return take_labels(self.source, self.indices)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self.source.gather(self.indices[indices])

    def example_names(self) -> Sequence[str] | None:
        names = example_names(self.source)
        if names is None:
            return None
        return [names[int(index)] for index in self.indices]

    def digest(self) -> str:
        indices = np.asarray(self.indices, np.int64)
        whole = np.frombuffer(bytes.fromhex(digest(self.source)), np.uint8)
        return digest_arrays(whole, indices)


@dataclass(frozen=True, eq=False)
class DatasetInfo:
    """Facts about a dataset that a model and a report need.

    `image_shape` is (height, width, channels); `counts` maps a split's name to the
    examples of each class (num_classes,); `mean` and `std` are per channel, of images
    scaled to 0..1; `reading` says how pictures come to this size; `whole_train` are the
    training examples of each class before they were thinned, if they were.
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    counts: dict[str, np.ndarray]
    mean: Channels
    std: Channels
    reading: Reading = field(default=Reading(), kw_only=True)
    whole_train: np.ndarray | None = field(default=None, kw_only=True)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of one dataset, and its description."""

    train: Split
    validation: Split
    test: Split
    info: DatasetInfo

    def split(self, name: str) -> Split:
        """Return the split of that name; `DatasetError` lists the names there are."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise DatasetError(unknown_name("split", name, splits))
        return splits[name]


def make_dataset(
    name: str,
    class_names: Sequence[str],
    train: Split,
    validation: Split,
    test: Split,
    statistics: tuple[Channels, Channels] | None = None,
    statistics_examples: int = STATISTICS_EXAMPLES,
    reading: Reading | None = None,
) -> Dataset:
    """Build a `Dataset`: count its classes, measure mean and std unless given.

    Raises `DatasetError` when there is nothing to measure them on.
    """
    if len(train) == 0 and statistics is None:
        raise DatasetError(
            f"{name}: no example is left for training, use smaller "
            "validation_fraction and test_fraction; a set that is for evaluation alone "
            "needs data.mean and data.std, which are measured on training examples"
        )
    splits = {"train": train, "validation": validation, "test": test}
    counts = {
        key: count_classes(split, len(class_names)) for key, split in splits.items()
    }
    mean, std = statistics or channel_statistics(train, statistics_examples)
    info = DatasetInfo(
        name=name,
        num_classes=len(class_names),
        class_names=tuple(class_names),
        image_shape=train.image_shape,
        counts=counts,
        mean=mean,
        std=std,
        reading=reading or Reading(),
    )
    return Dataset(train, validation, test, info)


@runtime_checkable
class Counted(Protocol):
    """A split that knows how many examples each class has, (num_classes,)."""

    @property
    def class_counts(self) -> np.ndarray: ...


def count_classes(split: Split, num_classes: int) -> np.ndarray:
    """Return the examples of each class, (num_classes,)."""
    if isinstance(split, Counted):
        return split.class_counts
    return np.bincount(split.labels, minlength=num_classes)


@runtime_checkable
class LooksUpLabels(Protocol):
    """A split that reads the labels of some examples without those of all."""

    def take_labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the labels of `indices` (k,), (k,) int32."""


def take_labels(split: Split, indices: np.ndarray) -> np.ndarray:
    """Return the labels of `indices` (k,), (k,) int32."""
    if isinstance(split, LooksUpLabels):
        return split.take_labels(indices)
    return split.labels[indices]


def example_names(split: Split) -> Sequence[str] | None:
    """Return a name for every example of a split, None if they have none."""
    return split.example_names() if isinstance(split, Identified) else None


def digest(split: Split) -> str:
    """Return what changes with any example of a split, or with their order.

    Of a split of a user's own that does not tell: with its labels alone.
    """
    if isinstance(split, Identified):
        return split.digest()
    return digest_arrays(split.labels, np.array(split.image_shape))


def channel_statistics(split: Split, max_examples: int) -> tuple[Channels, Channels]:
    """Return mean and standard deviation per channel, of images scaled to 0..1.

    Exact over the split, or over a fixed random sample of it when it has more than
    `max_examples`. Counted as a histogram of the 256 values, so the order and size of
    the blocks cannot change a digit of the result.
    """
    if len(split) > max_examples:
        indices = np.sort(draw_some((0,), len(split), max_examples))
    else:
        indices = np.arange(len(split))
    channels = split.image_shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(indices), 256):
        images = split.gather(indices[start : start + 256])["image"]
        for channel in range(channels):
            values = images[..., channel].ravel()
            histogram[channel] += np.bincount(values, minlength=256)
    levels = np.arange(256) / 255
    share = histogram / histogram.sum(axis=1, keepdims=True)  # (channels, 256)
    mean = share @ levels  # (channels,)
    std = np.sqrt((share * (levels - mean[:, None]) ** 2).sum(axis=1))
    # A channel of one value only (an all-grey set) must not divide by zero later.
    std = np.maximum(std, 1e-3)
    return tuple(mean.tolist()), tuple(std.tolist())
