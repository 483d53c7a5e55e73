"""From a directory to a `Predictor`, or one sentence that says what is wrong with it.

What lies there may come from a stranger: it is read as JSON and arrays, networks are
built by name from those registered here, and nothing is imported.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from tokenjax import card as cards
from tokenjax import models, paths, provenance, reduced_weights, storage
from tokenjax.card import Card, Images
from tokenjax.data import given_statistics
from tokenjax.errors import CheckpointError, UserError, shown, unknown_name
from tokenjax.prediction.card_reading import image_shape
from tokenjax.prediction.predictor import BATCH_SIZE, Predictor
from tokenjax.training.checkpoints import FOLDER, Weights, load_weights
from tokenjax.training.initialize import check_variables
from tokenjax.training.observation.progress import warn
from tokenjax.training.settings import Checkpoint

WHICH = ("best", "last")
MOST_NAMED = 3


def load(
    directory: str | os.PathLike[str],
    which: str | None = None,
    batch_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    reduction: str | Mapping[str, Any] | None = None,
) -> Predictor:
    """Return what a run or a converted checkpoint has learned, ready for pictures.

    Args:
      directory: a run's workdir, or what convert wrote.
      which: "best" or "last" of a run's checkpoints; None: the one that the run itself
        is evaluated with.
      batch_size: pictures at a time; None: the run's own, 64 of a converted checkpoint.
      mean, std: per channel, of images in 0..1, where the card does not tell them.
      reduction: of the network's tokens, as `tokenjax.models.reduction` has it:
        "tome:r=8", "none"; None: the run's own.

    Raises: UserError, which says what is missing, damaged or unknown.
    """
    path = paths.resolve(directory, "run")
    _check_directory(path)
    if which is not None and which not in WHICH:
        raise UserError(unknown_name("checkpoint", which, WHICH))
    if batch_size is not None and batch_size < 1:
        raise UserError(f"batch_size must be 1 or more, got {batch_size}")
    weights = load_weights(path, which or _own_choice(path))
    if weights.card is None:
        raise CheckpointError(_without_card(path, weights))
    card, variables = weights.card, weights.variables
    model = provenance.create_model(card)
    if reduction is not None:
        trained, card = model, _with_reduction(card, reduction)
        model = provenance.create_model(card)
        variables = reduced_weights.fit(variables, trained, model)
    card = _with_statistics(path, card, image_shape(model, card)[-1], mean, std)
    check_variables(_shapes(model), variables)
    if batch_size is None:
        batch_size = int((card.config or {}).get("batch_size") or BATCH_SIZE)
    predictor = Predictor(model, variables, card, batch_size)
    if predictor.classes and card.classes is None:
        warn(f"the card of {shown(path)} names no classes: they are told by number")
    return predictor


def _check_directory(path: pathlib.Path) -> None:
    """Raise CheckpointError, with what to do, unless there is something to load."""
    if path.is_file():
        raise CheckpointError(
            f"{shown(path)} is a file: give a run's directory, or what "
            "`tokenjax convert` makes of a checkpoint of another library"
        )
    if not path.is_dir():
        raise CheckpointError(f"there is no directory {shown(path)}")
    if (path / FOLDER).is_dir() or (path / storage.CHECKSUMS).is_file():
        return
    if (path / cards.FILE).is_file() or (path / "config.json").is_file():
        raise CheckpointError(
            f"the run in {shown(path)} has saved no checkpoint yet: wait for its first "
            "one, or train on"
        )
    around = path.parent if path.name == FOLDER else path.parent.parent
    if path.parent.name == FOLDER or path.name == FOLDER:
        raise CheckpointError(
            f"{shown(path)} is part of a run: give its directory, {shown(around)}"
        )
    inside = [each.name for each in sorted(path.iterdir()) if (each / FOLDER).is_dir()]
    hint = f"; runs in it: {', '.join(map(shown, inside[:MOST_NAMED]))}"
    raise CheckpointError(
        f"{shown(path)} holds no run and no converted checkpoint"
        f"{hint if inside else ''}"
    )


def _own_choice(path: pathlib.Path) -> str:
    """Return the checkpoint that a run is evaluated with."""
    card = cards.read(path)
    section = ((card.config if card else None) or {}).get("checkpoint") or {}
    chosen = section.get("evaluate") if isinstance(section, dict) else None
    return chosen if chosen in WHICH else Checkpoint().evaluate


def _without_card(path: pathlib.Path, weights: Weights) -> str:
    if weights.step is None:
        return (
            f"{shown(path)} has no card, which says what its network takes and what "
            "its classes are called: convert it once more"
        )
    return (
        f"the run in {shown(path)} is older than cards, which say what a network takes "
        "and what its classes are called: `train` with its configuration and workdir "
        "writes one, also where all steps are done; or evaluate it by eval with its "
        "--config"
    )


def _with_reduction(card: Card, reduction: str | Mapping[str, Any]) -> Card:
    """Return the card of a network that reduces its tokens otherwise.

    Raises: UserError for a network that takes no reduction, or a method that is none.
    """
    name = card.model["name"]
    argument = models.arguments(name).get("reduction")
    if argument is None:
        raise UserError(f"{name} takes no reduction of tokens")
    written = argument.check(reduction, "reduction")
    return dataclasses.replace(card, model={**card.model, "reduction": written})


def _with_statistics(
    path: pathlib.Path,
    card: Card,
    channels: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Card:
    """Return the card with mean and std.

    Raises: UserError unless they are told once, by the card or by who asks.
    """
    images = card.images
    told = images.mean is not None and images.std is not None
    if mean is None and std is None:
        if told:
            _check_statistics(path, images, channels)
            return card
        raise CheckpointError(
            f"the card of {shown(path)} does not tell mean and std of the images that "
            "its weights were trained on: give --mean and --std, to convert or to "
            "predict (mean= and std= of tokenjax.load)"
        )
    if mean is None or std is None:
        raise UserError("mean and std go together: give both or none")
    given = given_statistics(tuple(mean), tuple(std), channels)
    assert given is not None
    if told and given != (images.mean, images.std):
        raise UserError(
            f"the card of {shown(path)} has mean {images.mean} and std {images.std}, "
            "which the weights were trained with: give no others"
        )
    with_given = dataclasses.replace(images, mean=given[0], std=given[1])
    return dataclasses.replace(card, images=with_given)


def _check_statistics(path: pathlib.Path, images: Images, channels: int) -> None:
    """Raise CheckpointError unless mean and std are numbers for every channel."""
    for name in ("mean", "std"):
        values = getattr(images, name)
        fit = isinstance(values, tuple) and len(values) == channels
        if not fit or not all(isinstance(value, int | float) for value in values):
            raise CheckpointError(
                f"the card of {shown(path)} tells a {name} of {values!r}, where a "
                f"number for each of {channels} channels is due"
            )


def _shapes(model: object) -> dict:
    """Return the shapes of the variables that a network has."""
    inputs = model.example_inputs(1)  # type: ignore[attr-defined]
    return dict(jax.eval_shape(model.init, jax.random.key(0), *inputs))  # type: ignore[attr-defined]
