"""Image classification sets of TensorFlow Datasets, prepared on this machine.

A set prepared as array_record is read by TFDS without TensorFlow, and may be larger
than memory; one prepared as tfrecord (TFDS's default) needs TensorFlow and is read
into memory whole. Nothing is downloaded unless asked for.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import numpy as np

from tokenjax.data.dataset import (
    STATISTICS_EXAMPLES,
    ArraySplit,
    Channels,
    Dataset,
    LazySplit,
    Split,
    make_dataset,
)
from tokenjax.data.identity import Identity
from tokenjax.data.partition import Division, divide
from tokenjax.data.preprocessing import Crop, Reading, Resize
from tokenjax.data.sources.source_arguments import (
    CacheBytes,
    DataDirectory,
    Divided,
    Download,
    Side,
    SplitSeed,
    ValidationFraction,
)
from tokenjax.data.sources.tfds_builder import open_builder
from tokenjax.data.sources.tfds_reader import Reader
from tokenjax.errors import DatasetError, unknown_name

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

LAZY_STATISTICS_EXAMPLES = 1000  # decoded at load, so few of them

CIFAR100_STATISTICS = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


def _subset(split: ArraySplit | LazySplit, indices: np.ndarray) -> Split:
    labels = split.labels[indices]
    names = split.example_names() or ()
    identity = Identity([names[int(index)] for index in indices])
    if isinstance(split, ArraySplit):
        return ArraySplit(split.images[indices], labels, identity=identity)
    read = split.read
    return LazySplit(
        lambda index: read(int(indices[index])),
        labels,
        split.image_shape,
        identity=identity,
    )


def _check_features(builder: "DatasetBuilder", image_key: str, label_key: str) -> None:
    features = builder.info.features
    for key in (image_key, label_key):
        if key not in features:
            raise DatasetError(
                unknown_name(f"feature of {builder.name}", key, features)
            )
    if not hasattr(features[label_key], "num_classes"):
        raise DatasetError(f"tfds: {label_key!r} of {builder.name} is no class label")
    if len(features[image_key].shape) != 3:
        raise DatasetError(f"tfds: {image_key!r} of {builder.name} is no image")
    if features[image_key].np_dtype not in (np.uint8, np.uint16):
        raise DatasetError(
            f"tfds: {image_key!r} of {builder.name} has values of type "
            f"{features[image_key].np_dtype.__name__}, not 8 or 16 bits"
        )


def _divide(
    builder: "DatasetBuilder",
    readers: tuple[Reader, Reader],
    validation_fraction: float,
    split_seed: int,
    division: Division,
    cache_bytes: int,
) -> Dataset:
    size = sum(reader.bytes for reader in readers)
    fits = size <= cache_bytes
    if not fits and not readers[0].random_access:
        raise DatasetError(
            f"tfds: {builder.name} is prepared as tfrecord, which is read into memory "
            f"whole, and {size / 2**30:.1f} GiB is more than cache_bytes "
            f"({cache_bytes / 2**30:.1f} GiB): prepare it in another data_dir with "
            f"`tfds build {builder.name} --file_format=array_record`"
        )
    train, test = (
        reader.in_memory() if fits else reader.on_demand() for reader in readers
    )
    kept, held_back = divide(train.labels, validation_fraction, split_seed, division)
    return make_dataset(
        builder.name,
        builder.info.features[readers[0].label_key].names,
        _subset(train, kept),
        _subset(train, held_back),
        test,
        statistics_examples=STATISTICS_EXAMPLES if fits else LAZY_STATISTICS_EXAMPLES,
        reading=readers[0].reading,
    )


def tfds(
    name: Annotated[str, "of the set in TFDS: imagenette/320px-v2"],
    image_size: Side = 32,
    data_dir: DataDirectory = "",
    validation_fraction: ValidationFraction = 0.1,
    split_seed: SplitSeed = 0,
    download: Download = False,
    train_split: Annotated[str, "TFDS's name of the split to train on"] = "train",
    test_split: Annotated[str, "and of the one to test on"] = "test",
    image_key: Annotated[str, "TFDS's name of the images"] = "image",
    label_key: Annotated[str, "and of the class labels"] = "label",
    cache_bytes: CacheBytes = 4 * 2**30,
    crop: Crop = None,
    interpolation: Resize = None,
    division: Divided = "by_class",
) -> Dataset:
    """Load a TFDS set with class labels, at (image_size, image_size, 1 or 3).

    Images of other sizes have their shorter side resized and the centre kept (of it the
    share `crop`, if that is given). The
    validation split is taken from `train_split` as `division` says; an empty `data_dir`
    is TFDS's own. A set whose pixels exceed `cache_bytes` is decoded on demand. Raises
    `DatasetError` when it is not prepared (and `download` is off, or there is no
    network), has no such split or feature, or is too large a tfrecord.
    """
    builder = open_builder(name, data_dir, download)
    _check_features(builder, image_key, label_key)
    reading = Reading(crop or 1.0, interpolation or "bicubic")
    train, test = (
        Reader(builder, split, image_size, image_key, label_key, reading)
        for split in (train_split, test_split)
    )
    held_back = (validation_fraction, split_seed, division)
    return _divide(builder, (train, test), *held_back, cache_bytes)


def with_statistics(dataset: Dataset, statistics: tuple[Channels, Channels]) -> Dataset:
    """Return a data set with the mean and standard deviation that are published."""
    mean, std = statistics
    return replace(dataset, info=replace(dataset.info, mean=mean, std=std))


def cifar100(
    image_size: Side = 32,
    data_dir: DataDirectory = "",
    validation_fraction: ValidationFraction = 0.1,
    split_seed: SplitSeed = 0,
    download: Download = False,
) -> Dataset:
    """Load CIFAR-100 (Krizhevsky 2009) through TFDS: 60,000 images, 100 classes."""
    dataset = tfds(
        "cifar100", image_size, data_dir, validation_fraction, split_seed, download
    )
    return with_statistics(dataset, CIFAR100_STATISTICS)
