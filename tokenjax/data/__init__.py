"""Datasets by name, deterministic batches, and augmentation on the device.

`load(config)` reads `source` and that source's own arguments from a mapping (an
ml_collections ConfigDict will do). Every source takes `mean` and `std` besides, which
stand for those it would measure, and what says how much of it is taken: `classes`,
`train_per_class`. Importing this package imports no TensorFlow, no
TFDS and no scikit-learn: a source imports what it needs when it is asked for.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from tokenjax.arguments import (
    COUNT,
    REQUIRED,
    Argument,
    at_least,
    check_all,
    describe,
)
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
from tokenjax.data.index_files import read_indices, write_indices
from tokenjax.data.preprocessing import Mean, Reading, Std, given_statistics
from tokenjax.data.reid_dataset import ReidInfo, ReidSplit
from tokenjax.data.samplers import (
    identity_epoch,
    identity_indices,
    sampling_weights,
    train_indices,
)
from tokenjax.data.selection import limit_classes, select_classes
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
    "read_indices",
    "register_source",
    "sampling_weights",
    "train_batches",
    "train_indices",
    "write_indices",
]


def names() -> list[str]:
    """Return the names of the sources that `load` knows."""
    return sorted(SOURCES)


def arguments(source: str) -> Mapping[str, Argument]:
    """Return the arguments of a source.

    Raises: UserError for an unknown one.
    """
    return {**describe(_adjust), **describe(SOURCES[source])}


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
        common = {name: given[name] for name in describe(_adjust) if name in given}
        own = {k: v for k, v in given.items() if k in known or k not in common}
        checked = check_all(own, loader, kind, prefix)
        common = check_all(common, _adjust, kind, prefix)
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
    return _adjust(**common)(loader(**checked))


def _adjust(
    mean: Mean = None,
    std: Std = None,
    classes: Annotated[
        tuple[str, ...] | None, "names of the classes that are taken; None: all"
    ] = None,
    train_per_class: Annotated[
        int, COUNT, "training images of each class that are taken; 0: all"
    ] = 0,
    train_seed: Annotated[int, at_least(0), "of the choice of those"] = 0,
    test_per_class: Annotated[
        int, COUNT, "test images of each class that are taken, always the same; 0: all"
    ] = 0,
) -> Callable[[Dataset], Dataset]:
    """Return what makes of a data set what these arguments of every source say."""

    def adjust(dataset: Dataset) -> Dataset:
        given = given_statistics(mean, std, dataset.info.image_shape[-1])
        if given is not None:
            info = dataclasses.replace(dataset.info, mean=given[0], std=given[1])
            dataset = dataclasses.replace(dataset, info=info)
        if classes is not None:
            dataset = select_classes(dataset, classes)
        if train_per_class:
            dataset = limit_classes(dataset, "train", train_per_class, train_seed)
        if test_per_class:
            dataset = limit_classes(dataset, "test", test_per_class, seed=0)
        return dataset

    return adjust
