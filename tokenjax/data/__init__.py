"""Datasets by name, deterministic batches, and augmentation on the device.

`load(config)` reads `source` and that source's own arguments from a mapping (an
ml_collections ConfigDict will do). Importing this package imports no TensorFlow, no
TFDS and no scikit-learn: a source imports what it needs when it is asked for.
"""

import inspect
from collections.abc import Mapping
from typing import Any

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
from tokenjax.data.dataset import (
    ArraySplit,
    Dataset,
    DatasetInfo,
    LazySplit,
    Split,
    Subset,
)
from tokenjax.data.imbalance import (
    class_counts,
    imbalanced_indices,
    make_imbalanced,
)
from tokenjax.data.reid_dataset import ReidInfo, ReidSplit
from tokenjax.data.samplers import (
    identity_epoch,
    identity_indices,
    sampling_weights,
    train_indices,
)
from tokenjax.data.sources import SOURCES
from tokenjax.errors import DatasetError, unknown_name

__all__ = [
    "ALL_ROWS",
    "ArraySplit",
    "Augmentation",
    "Dataset",
    "DatasetInfo",
    "LazySplit",
    "Mixed",
    "ReidInfo",
    "ReidSplit",
    "Rows",
    "Split",
    "Subset",
    "augment",
    "augment_modalities",
    "class_counts",
    "evaluation_batches",
    "identity_batches",
    "identity_epoch",
    "identity_indices",
    "imbalanced_indices",
    "load",
    "make_imbalanced",
    "mix",
    "names",
    "normalize",
    "prefetch",
    "sampling_weights",
    "source_defaults",
    "train_batches",
    "train_indices",
]


def names() -> list[str]:
    """Return the names of the sources that `load` knows."""
    return sorted(SOURCES)


def source_defaults(source: Any) -> dict[str, Any]:
    """The arguments of a source that need not be given; none of an unknown one."""
    if not isinstance(source, str) or source not in SOURCES:
        return {}
    parameters = inspect.signature(SOURCES[source]).parameters.values()
    given = [each for each in parameters if each.default is not each.empty]
    return {parameter.name: parameter.default for parameter in given}


def load(config: Mapping[str, Any]) -> Dataset:
    """The dataset that `config` names: `source`, and arguments of that source.

    Raises `DatasetError` for an unknown source, an unknown, missing or mistyped
    argument, and for data that is missing or damaged.
    """
    arguments = dict(config.items())
    source = arguments.pop("source", None)
    if source is None:
        raise DatasetError(f"data has no 'source'. Valid: {', '.join(names())}")
    if not isinstance(source, str) or source not in SOURCES:
        raise DatasetError(unknown_name("data source", str(source), SOURCES))
    parameters = inspect.signature(SOURCES[source]).parameters
    for name, value in arguments.items():
        if name not in parameters:
            kind = f"argument of data source {source!r}"
            raise DatasetError(unknown_name(kind, name, parameters))
        _check_type(source, name, value, parameters[name].annotation)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise DatasetError(f"data source {source!r} needs {name!r}")
    return SOURCES[source](**arguments)


def _check_type(source: str, name: str, value: Any, expected: type) -> None:
    """Sources annotate their arguments with bool, int, float or str alone."""
    accepted = (int, float) if expected is float else expected
    boolean = isinstance(value, bool)
    if boolean is not (expected is bool) or not isinstance(value, accepted):
        raise DatasetError(
            f"{name} of data source {source!r} must be {expected.__name__}, "
            f"got {value!r}"
        )
