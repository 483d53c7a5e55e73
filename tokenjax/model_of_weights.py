"""A configuration whose model is that of the weights it starts from.

`model.name="from_weights"` leaves the model to the card of `init_from`, whose arguments
then stand in the configuration as if they had been written there: they are listed, can
be set on the command line, and are in the run's config.json. What follows from the data
is left to the new data, but for the image size, which is the weights' own unless
another is given.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from tokenjax import data, models, paths, provenance
from tokenjax.card import Card
from tokenjax.errors import UserError
from tokenjax.training.settings import FROM_WEIGHTS

IMAGE_SIZE = "image_size"  # of a source whose images are square


def take_model_of_weights(config: ConfigDict, chosen: Mapping[str, str]) -> None:
    """Fill in, in place, the model that a configuration leaves to its weights.

    Without `init_from` it stays open, which is said when the model is needed.

    Args:
      config: of a run.
      chosen: what the command line puts in place of the configuration's values.

    Raises: UserError for weights that do not tell their model.
    """
    if not _is_open(config, chosen):
        return
    given = chosen.get("init_from") or config.get("init_from")
    if not given:
        return
    which = chosen.get("checkpoint.evaluate") or config.checkpoint.evaluate
    card = _read_card(given, which)
    name = card.model["name"]
    values = models.values(provenance.create_model(card))
    known = models.arguments(name)
    arguments = {k: v for k, v in values.items() if not known[k].from_data}
    with config.unlocked():
        config.model = ConfigDict({"name": name} | arguments)
        _take_image_size(config.data, card, chosen)


def _is_open(config: ConfigDict, chosen: Mapping[str, str]) -> bool:
    model: Any = config.get("model")
    if not isinstance(model, ConfigDict):
        return False
    return model.get("name") == FROM_WEIGHTS and "model.name" not in chosen


def _read_card(given: str, which: str) -> Card:
    from tokenjax.training.checkpoints import read_card  # Orbax, seldom needed here

    source = paths.resolve(given, "config: init_from")
    if not source.is_dir():
        raise UserError(f"init_from: no directory {given}")
    card = read_card(source, which)
    if card is None:
        raise UserError(
            f"init_from {given} has no card, so what its model is is not told: name it "
            "with --config.model.name and its arguments"
        )
    return card


def _take_image_size(
    section: ConfigDict, card: Card, chosen: Mapping[str, str]
) -> None:
    """Set the size of the weights' images where none is given and it can be."""
    source = chosen.get("data.source", section.get("source"))
    height, width = card.images.height, card.images.width
    if source not in data.names() or IMAGE_SIZE not in data.arguments(source):
        return
    if section.get(IMAGE_SIZE) is None and height and height == width:
        section[IMAGE_SIZE] = height
