"""Weights as a model of other classes, another grid or other channels has them."""

import dataclasses
from collections.abc import Sequence

from flax.typing import VariableDict

from tokenjax.models import contract
from tokenjax.training import parameter_groups
from tokenjax.training.adaptation.channels import fit_channels
from tokenjax.training.adaptation.classes import fit_head
from tokenjax.training.adaptation.paths import Arrays, flatten, unflatten
from tokenjax.training.adaptation.positions import fit_maps, fit_positions
from tokenjax.training.initialize import check_variables

NEW = {  # groups that weights need not have
    contract.CAMERAS: "new embeddings of the cameras",
    contract.PREDICTORS: "new parameters of what judges tokens",
}


@dataclasses.dataclass(frozen=True)
class Origin:
    """What weights are of.

    Attributes:
      model: that they were made with; its parameters are not needed.
      classes: names in the order of its scores, None where they are not told.
    """

    model: contract.Model
    classes: tuple[str, ...] | None = None


def adapt(
    own: VariableDict,
    given: VariableDict,
    model: contract.Model,
    classes: Sequence[str],
    origin: Origin | None = None,
    head: str = "auto",
) -> tuple[VariableDict, list[str]]:
    """Return given weights as a model takes them, and a sentence for each change.

    Args:
      own: variables of a new model; what is made anew is of them.
      given: the weights.
      model: that they are for.
      classes: its classes' names, in order.
      origin: what the weights are of; None: not told, so shapes alone decide.
      head: what becomes of theirs, see `classes.fit_head`.

    Raises: CheckpointError for weights that do not fit the model.
    """
    arrays, ours = flatten(given), flatten(own)
    sentences: list[str] = []
    if origin is not None:
        arrays, said = fit_positions(arrays, origin.model, model)
        sentences += said
        maps = _members(model, own, contract.MAPS)
        arrays, said = fit_maps(arrays, ours, maps)
        sentences += said
        kernels = _members(model, own, contract.INPUT)
        arrays, said = fit_channels(arrays, kernels, origin.model, model)
        sentences += said
    theirs = None if origin is None else origin.classes
    head_paths = _members(model, own, contract.HEAD)
    arrays, said = fit_head(arrays, ours, head_paths, theirs, classes, head)
    sentences += said
    for group, what in NEW.items():
        arrays, said = _take_own(arrays, ours, _members(model, own, group), what)
        sentences += said
    adapted = unflatten(arrays)
    check_variables(own, adapted)
    return adapted, sentences


def _members(model: contract.Model, own: VariableDict, group: str) -> frozenset[str]:
    """Return the paths of a group's arrays in the variables."""
    found = parameter_groups.members(model.parameter_groups(), own["params"], group)
    return frozenset(f"params/{path}" for path in found)


def _take_own(
    given: Arrays, own: Arrays, group: frozenset[str], what: str
) -> tuple[Arrays, list[str]]:
    """Return arrays with a group's new ones where the weights' are not of their shape.

    Cameras go by no name: as many are taken for the same.
    """
    others = {
        path: own[path]
        for path in group
        if path not in given or given[path].shape != own[path].shape
    }
    return given | others, [what] if others else []
