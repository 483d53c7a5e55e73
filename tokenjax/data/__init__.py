"""Datasets by name, deterministic batches, and augmentation on the device.

`load(config)` reads `source` and that source's own arguments from a mapping (an
ml_collections ConfigDict will do). Every source takes `mean` and `std` besides, which
stand for those it would measure. Importing this package imports no TensorFlow, no
TFDS and no scikit-learn: a source imports what it needs when it is asked for.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tokenjax.arguments import REQUIRED, Argument, check_all, describe
from tokenjax.data.augmentation.mixing import Mixed, mix
from tokenjax.data.augmentation.modality_augmentation import augment_modalities
from tokenjax.data.augmentation.pipeline import Augmentation, augment, normalize
from tokenjax.data.batches import (
    ALL_ROWS,
    Rows,
    evaluation_batches,
    identity_batches,
    prefetch,
    train_batches,
)
from tokenjax.data.classes import match_classes
from tokenjax.data.dataset import (
    ArraySplit,
    Dataset,
    DatasetInfo,
    LazySplit,
    Split,
    Subset,
    digest,
    example_names,
)
from tokenjax.data.imbalance import (
    class_counts,
    imbalanced_indices,
    make_imbalanced,
)
from tokenjax.data.preprocessing import Mean, Reading, Std, given_statistics
from tokenjax.data.reid_dataset import ReidInfo, ReidSplit
from tokenjax.data.samplers import (
    identity_epoch,
    identity_indices,
    sampling_weights,
    train_indices,
)
from tokenjax.data.sources import SOURCES, Loader
from tokenjax.errors import DatasetError, UserError

__all__ = [
    "ALL_ROWS",
    "ArraySplit",
    "Augmentation",
    "Dataset",
    "DatasetInfo",
    "LazySplit",
    "Mixed",
    "Reading",
    "ReidInfo",
    "ReidSplit",
    "Rows",
    "Split",
    "Subset",
    "arguments",
    "augment",
    "augment_modalities",
    "class_counts",
    "digest",
    "evaluation_batches",
    "example_names",
    "identity_batches",
    "identity_epoch",
    "identity_indices",
    "imbalanced_indices",
    "load",
    "make_imbalanced",
    "match_classes",
    "mix",
    "names",
    "normalize",
    "prefetch",
    "register_source",
    "sampling_weights",
    "train_batches",
    "train_indices",
]

STATISTICS = ("mean", "std")  # arguments of every source, see the module


def names() -> list[str]:
    """Return the names of the sources that `load` knows."""
    return sorted(SOURCES)


def arguments(source: str) -> Mapping[str, Argument]:
    """Return the arguments of a source.

    Raises: UserError for an unknown one.
    """
    return {**describe(_take_statistics), **describe(SOURCES[source])}


def register_source(name: str, loader: Loader) -> None:
    """Add a source: `load` and every configuration know it by this name from now on.

    Args:
      name: of the source.
      loader: a function that returns a `Dataset`; its arguments are annotated with
        their types, perhaps as `tokenjax.arguments` describes.

    Raises: UserError for a name that is taken, or an argument without a type.
    """
    if not callable(loader):
        raise UserError(f"data source {name!r} must be a function, got {loader!r}")
    for argument in describe(loader).values():
        if argument.type is Any:
            raise UserError(
                f"data source {name!r}: annotate {argument.name} with its type"
            )
    SOURCES.add(name, loader)


def load(config: Mapping[str, Any]) -> Dataset:
    """Return the dataset that `config` names: `source`, and arguments of that source.

    An argument of None counts as not given.

    Raises: DatasetError for an unknown source, an unknown, missing or mistyped
      argument, and for data that is missing or damaged.
    """
    given = {key: value for key, value in config.items() if value is not None}
    source = given.pop("source", None)
    if source is None:
        raise DatasetError(f"data has no 'source'. Valid: {', '.join(names())}")
    try:
        loader = SOURCES[source]
        kind, prefix = f"argument of data source {source!r}", "config: data."
        known = describe(loader)
        common = {name: given.pop(name) for name in STATISTICS if name in given}
        own = {name: value for name, value in common.items() if name in known}
        checked = check_all(given | own, loader, kind, prefix)
        common = check_all(common, _take_statistics, kind, prefix)
    except DatasetError:
        raise
    except UserError as error:
        raise DatasetError(str(error)) from error
    for argument in known.values():
        if argument.default is REQUIRED and argument.name not in checked:
            name = argument.name
            raise DatasetError(
                f"data source {source!r} needs {name!r} ({argument.meaning}): "
                f"--config.data.{name}={name.upper()}"
            )
    return _take_statistics(**common)(loader(**checked))


def _take_statistics(
    mean: Mean = None, std: Std = None
) -> Callable[[Dataset], Dataset]:
    """Return what gives a data set this mean and std, if they are given."""

    def take(dataset: Dataset) -> Dataset:
        channels = dataset.info.image_shape[-1]
        given = given_statistics(mean, std, channels)
        if given is None:
            return dataset
        info = dataclasses.replace(dataset.info, mean=given[0], std=given[1])
        return dataclasses.replace(dataset, info=info)

    return take
