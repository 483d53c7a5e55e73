"""What weights are of, written down when they are made and held against their use.

A run describes itself (`describe`); whoever evaluates or goes on from weights asks what
differs from their card (`model_differences`, `image_differences`, `data_differences`).
What a configuration leaves open follows from the card (`adopt`).
"""

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from tokenjax import card as cards
from tokenjax import data, models, plugins
from tokenjax.card import Card, Images
from tokenjax.errors import UserError
from tokenjax.models import contract

SPLITS = ("train", "validation", "test")
OPEN = ("mean", "std", "crop", "interpolation")  # of data: None is the weights' own
DIVISION = (  # arguments of sources that say which examples are training
    "division",
    "split_seed",
    "validation_fraction",
    "test_fraction",
    "validation_identities",
)
_CLOSE = 1e-6  # numbers of a JSON file, and their float32


def describe(
    config: Mapping[str, Any], dataset: data.Dataset, module: contract.Model
) -> Card:
    """Return the card of a run.

    Args:
      config: of the run, complete, as plain values.
      dataset: what it is trained on.
      module: its network.
    """
    info = dataset.info
    return Card(
        task=config["task"],
        model={"name": config["model"]["name"], **models.values(module)},
        classes=info.class_names,
        images=describe_images(info),
        data={
            "source": config["data"].get("source"),
            "name": info.name,
            "splits": {name: _describe_split(dataset, name) for name in SPLITS},
        },
        config=config,
        imports=_list_imports(module),
        versions=cards.versions(),
    )


def _list_imports(module: contract.Model) -> tuple[str, ...]:
    """Return what is to be imported before the network can be built again."""
    own, named = type(module).__module__, plugins.imported()
    modules = {
        pathlib.Path(name).stem if name.endswith(".py") else name for name in named
    }
    if own.partition(".")[0] == "tokenjax" or own in modules:
        return named
    return (*named, own)  # a configuration file imported it


def describe_images(info: data.DatasetInfo) -> Images:
    """Return what a data set's images are."""
    height, width, channels = info.image_shape
    several = info.modalities if isinstance(info, data.ReidInfo) else ()
    return Images(
        height=height,
        width=width,
        channels=channels,
        mean=tuple(info.mean),
        std=tuple(info.std),
        crop=info.reading.crop,
        interpolation=info.reading.interpolation,
        stretch=info.reading.stretch,
        modalities=several,
    )


def _describe_split(dataset: data.Dataset, name: str) -> dict[str, Any]:
    split = dataset.split(name)
    return {"examples": len(split), "digest": data.digest(split)}


def adopt(config: Any, card: Card) -> Any:
    """Return a ConfigDict in which what `data` leaves open is as the card has it."""
    adopted = config.copy_and_resolve_references()
    section = adopted.data
    with adopted.unlocked():
        for key in OPEN:
            value = getattr(card.images, key)
            if value is not None and key in section and section.get(key) is None:
                section[key] = value
    return adopted


def model_differences(
    card: Card,
    module: contract.Model,
    sizes: bool = True,
    meant: Collection[str] = (),
) -> dict[str, str]:
    """Return in which arguments a network differs from the one the weights are of.

    Arguments that change nothing of what weights mean are passed over.

    Args:
      card: of the weights.
      module: what is to take them.
      sizes: also what follows from the data (image size, channels, classes).
      meant: arguments that may differ.

    Returns: a sentence for each, by the argument's name; "name" for another model.
    """
    theirs = dict(card.model)
    name = theirs.pop("name")
    trained = create_model(card)
    if type(trained) is not type(module):
        kinds = f"{type(trained).__name__}), not {type(module).__name__}"
        return {"name": f"model {name} ({kinds}"}
    before, now = models.values(trained), models.values(module)
    return {
        key: f"model.{key} {_told(before[key])}, not {_told(now[key])}"
        for key, argument in models.arguments(name).items()
        if argument.of_weights
        and key not in meant
        and (sizes or not argument.from_data)
        and not _same(before[key], now[key])
    }


def create_model(card: Card) -> nn.Module:
    """Build the network that a card describes.

    Raises: UserError for one that is not known here, or no longer takes its arguments.
    """
    arguments = dict(card.model)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise UserError("the card names no model")
    if name not in models.names() and card.imports:
        hint = " ".join(f"--import {each}" for each in card.imports)
        raise UserError(
            f"model {name!r} is not one of ours: the run was made with {hint}, which "
            "is needed here too (nothing is imported because a card names it)"
        )
    return models.create(name, **_with_tuples(arguments))


def image_differences(
    card: Card, info: data.DatasetInfo, source: str, sizes: bool = True
) -> list[str]:
    """Return in what images differ from those that the weights were trained on.

    `sizes`: also in their size, channels and modalities.
    """
    found = describe_images(info)
    keys = ["mean", "std"]
    if sizes:
        keys = ["height", "width", "channels", *keys, "modalities"]
    keys += [key for key in ("crop", "interpolation") if key in data.arguments(source)]
    differences = []
    for key in keys:
        theirs, ours = getattr(card.images, key), getattr(found, key)
        if theirs is not None and not _same(theirs, ours):
            differences.append(f"{key} {_told(theirs)}, not {_told(ours)}")
    return differences


def division_differences(card: Card, section: Mapping[str, Any]) -> list[str]:
    """Return how `data` divides the same source otherwise than for the weights.

    What was training would become test.
    """
    before = (card.config or {}).get("data", {})
    if before.get("source") != section.get("source"):
        return []
    return [
        f"data.{key} {_told(before[key])}, not {_told(section[key])} (what it was "
        "trained on would be among the others)"
        for key in DIVISION
        if key in before and key in section and not _same(before[key], section[key])
    ]


def data_differences(card: Card, dataset: data.Dataset) -> list[str]:
    """Return which splits are no longer those that a run was begun on."""
    differences = []
    if card.classes is not None and card.classes != dataset.info.class_names:
        differences.append(
            f"classes {_told(card.classes)}, now {_told(dataset.info.class_names)}"
        )
    for name, before in card.splits.items():
        split = dataset.split(name)
        if before["digest"] == data.digest(split):
            continue
        counts = f"{before['examples']} examples, now {len(split)}"
        if before["examples"] == len(split):
            counts = f"as many examples ({len(split)}), but others"
        differences.append(f"{name}: {counts}")
    return differences


def is_own_split(card: Card, dataset: data.Dataset, name: str) -> bool:
    """Return whether a split is the one that the run itself is evaluated on."""
    known = card.splits.get(name)
    return known is None or known["digest"] == data.digest(dataset.split(name))


def _same(one: Any, other: Any) -> bool:
    """Numbers may differ by what float32 and JSON make of them."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and bool(np.isclose(one, other, rtol=_CLOSE, atol=_CLOSE**2))
    return bool(one == other)


def _told(value: Any) -> str:
    if isinstance(value, tuple | list):
        shown = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in value[:8]]
        more = f", ... {len(value)} in all" if len(value) > len(shown) else ""
        return f"({', '.join(shown)}{more})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _with_tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Turn JSON's lists into the tuples they were."""

    def fit(value: Any) -> Any:
        return tuple(map(fit, value)) if isinstance(value, list) else value

    return {key: fit(value) for key, value in arguments.items()}
