"""The weights that a new run starts from, held against what they are to be.

Only what follows from the data is adapted (`training.adaptation`). An argument of the
model that has no shape, and is not as the weights' card has it, is refused: the same
numbers would be another network.
"""

import pathlib
from typing import Any

from flax.typing import VariableDict

from tokenjax import data, models, paths, provenance
from tokenjax.card import Card
from tokenjax.errors import CheckpointError, UserError, unknown_name
from tokenjax.models import contract
from tokenjax.training.adaptation import Origin, adapt
from tokenjax.training.checkpoints import Weights, load_weights, read_card
from tokenjax.training.observation.progress import say, warn
from tokenjax.training.settings import Settings


def start_from(
    own: VariableDict, settings: Settings, model: contract.Model, info: data.DatasetInfo
) -> VariableDict:
    """Return the weights of `init_from` as a new run takes them, saying what changed.

    Args:
      own: variables of the new run.
      settings: its own.
      model: its network.
      info: of its data.

    Raises: UserError for weights of another network, naming what differs.
    """
    where = f"init_from {settings.init_from}"
    source = paths.resolve(settings.init_from, "config: init_from")
    weights = load_weights(source, settings.checkpoint.evaluate)
    origin = find_origin(weights, model, settings, where)
    try:
        variables, sentences = adapt(
            own, weights.variables, model, info.class_names, origin, settings.init_head
        )
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    if weights.card is not None:
        sentences += _tell_other_images(weights.card, settings, info)
    if sentences:
        say(f"{where}: {'; '.join(sentences)}")
    return variables


def find_origin(
    weights: Weights, model: contract.Model, settings: Settings, where: str
) -> Origin | None:
    """Return what weights are of; None if they have no card, which is said.

    Raises: UserError if they are of another network.
    """
    card = weights.card
    if card is None:
        _warn_of_no_card(where)
        return None
    known = models.arguments(settings.model["name"])
    for name in settings.init_changes:
        if name not in known:
            kind = f"init_changes: argument of {settings.model['name']}"
            raise UserError(f"config: {unknown_name(kind, name, known)}")
    found = provenance.model_differences(card, model, sizes=False)
    differences = [found[key] for key in found if key not in settings.init_changes]
    if differences:
        raise UserError(
            f"{where} was trained as another network than the run's: "
            f"{'; '.join(differences)}; what may differ is named in init_changes"
        )
    source = provenance.create_model(card)
    assert isinstance(source, contract.Model)
    return Origin(source, card.classes)


def read_given_card(config: Any) -> Card | None:
    """Return the card of the weights that a new run is given; None without any.

    Of several it is that of those it starts from whole.

    Raises: UserError.
    """
    given = {
        "init_from": config.init_from,
        "distillation.teacher": config.distillation.teacher,
    }
    for key, directory in given.items():
        if directory:
            source = paths.resolve(directory, f"config: {key}")
            return read_card(source, config.checkpoint.evaluate)
    return None


def refuse_other_teacher(
    teacher: pathlib.Path,
    settings: Settings,
    model: contract.Prunes,
    info: data.DatasetInfo,
) -> None:
    """Raise UserError unless a given teacher is the run's network, unpruned or plain.

    Its classes may be in another order (the task sees to that), and how it would prune
    does not matter.
    """
    where = f"distillation.teacher {settings.distillation.teacher}"
    card = read_card(teacher, settings.checkpoint.evaluate)
    if card is None:
        _warn_of_no_card(where)
        return
    found = provenance.model_differences(card, model.unpruned())
    if "name" in found:
        as_plain = provenance.model_differences(card, model.plain())
        found = found if "name" in as_plain else as_plain
    differences = [found[key] for key in found if key not in model.idle_unpruned()]
    differences += provenance.image_differences(card, info, settings.data["source"])
    if differences:
        raise UserError(
            f"{where} was trained otherwise than this run would use it: "
            f"{'; '.join(differences)}"
        )


def _tell_other_images(
    card: Card, settings: Settings, info: data.DatasetInfo
) -> list[str]:
    """Return a sentence if images are prepared otherwise than the weights are used to.

    Of other channels they must be.
    """
    if card.images.channels not in (None, info.image_shape[-1]):
        return []
    source = settings.data["source"]
    differences = provenance.image_differences(card, info, source, sizes=False)
    told = f"its images were prepared otherwise: {'; '.join(differences)}"
    return [told] if differences else []


def _warn_of_no_card(where: str) -> None:
    warn(
        f"{where} has no card, as before there were any: whether the model's settings "
        "and the classes are those of its training is not checked"
    )
