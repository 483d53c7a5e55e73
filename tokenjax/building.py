"""From a configuration to a model, its data and its task.

Models and training meet here, and in those who build what a configuration describes:
`experiment`, which trains it, and `reevaluation`.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from tokenjax import data, models, paths
from tokenjax.errors import UserError
from tokenjax.provenance import SPLITS
from tokenjax.training.distribution import cluster, devices
from tokenjax.training.settings import Imbalance, Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a configuration describes, built."""

    settings: Settings
    dataset: data.Dataset
    task: Task
    kept: np.ndarray | None = None  # training examples, where they were thinned


def build(
    config: Any,
    teacher: pathlib.Path | None = None,
    classes: Sequence[str] | None = None,
    splits: Sequence[str] = SPLITS,
) -> Experiment:
    """Check the configuration, join a cluster if asked, load data, build the model.

    Args:
      config: of a run.
      teacher: where a task that takes one finds its own, needed to start a run.
      classes: in the order of the network's scores; None: in the data's own.
      splits: that must hold examples.

    Raises: UserError.
    """
    settings = Settings.from_config(config)
    cluster.join(settings)
    # The quick mistakes first, before any data is loaded or a file written.
    models.argument_names(settings.model["name"])
    devices.make_mesh(settings)
    dataset = data.load(settings.data)
    if classes is not None:
        dataset = data.match_classes(dataset, classes)
    dataset, kept = thin(dataset, settings.imbalance)
    for name in splits:
        if not len(dataset.split(name)):
            raise UserError(
                f"the {name} split of {dataset.info.name} holds no examples"
            )
    return Experiment(settings, dataset, make_task(settings, dataset, teacher), kept)


def thin(
    dataset: data.Dataset, thinning: Imbalance
) -> tuple[data.Dataset, np.ndarray | None]:
    """Return the data thinned as asked, and the indices of what is kept of training."""
    if not len(dataset.train):
        return dataset, None
    indices = None
    if thinning.indices:
        path = paths.resolve(thinning.indices, "config: imbalance.indices")
        indices = data.read_indices(path)
    elif thinning.profile == "none":
        return dataset, None
    thinned = data.make_imbalanced(
        dataset,
        thinning.profile,
        thinning.ratio,
        thinning.seed,
        indices,
        thinning.validation,
    )
    train = thinned.train
    return thinned, train.indices if isinstance(train, data.Subset) else None


def make_task(
    settings: Settings, dataset: data.Dataset, teacher: pathlib.Path | None = None
) -> Task:
    """Make the task of a configuration, with its model.

    Raises: UserError.
    """
    model = create_model(settings.model, dataset.info)
    return TASKS[settings.task](model, dataset, settings, teacher)


def create_model(model_config: Mapping[str, Any], info: data.DatasetInfo) -> nn.Module:
    """Build the named model; what its arguments leave out follows from the data.

    Raises: UserError if a size that is given contradicts the data.
    """
    given = {key: value for key, value in model_config.items() if value is not None}
    name = given.pop("name")
    for argument in models.arguments(name).values():
        if not argument.from_data:
            continue
        value = _find_in_data(argument.from_data, info, name)
        if value is None:
            continue
        if given.setdefault(argument.name, value) != value:
            raise UserError(
                f"config: model.{argument.name} is {given[argument.name]}, but "
                f"{info.name} has {value}"
            )
    return models.create(name, **given)


def _find_in_data(what: str, info: data.DatasetInfo, name: str) -> Any:
    """Return what an argument follows from (`arguments.FromData`), None if nothing.

    Raises: UserError for images that are not square where the model takes no others.
    """
    height, width, channels = info.image_shape
    if what == "side" and height != width:
        raise UserError(f"{name} takes square images; {info.name} has {height}x{width}")
    found: dict[str, Any] = {
        "side": height,
        "channels": channels,
        "classes": info.num_classes,
    }
    if isinstance(info, data.ReidInfo):
        found |= {
            "size": (height, width),
            "cameras": info.num_cameras,
            "modalities": info.modalities,
        }
    return found.get(what)
