"""The head: kept for the same classes, in the run's order, or made anew.

Classes are the same if their names are. Where weights do not tell names, as many of
them must do, which is said.
"""

from collections.abc import Sequence

import numpy as np
from flax.typing import VariableDict

from tokenjax.errors import CheckpointError
from tokenjax.models import contract
from tokenjax.training import parameter_groups
from tokenjax.training.adaptation.paths import Arrays, flatten, unflatten
from tokenjax.training.parameter_groups import Groups

SHOWN_CLASSES = 4


def fit_head(
    given: Arrays,
    own: Arrays,
    head: frozenset[str],
    theirs: Sequence[str] | None,
    classes: Sequence[str],
    choice: str,
) -> tuple[Arrays, list[str]]:
    """Return arrays with a head for these classes, and what was done to it.

    Args:
      given: the weights, by path.
      own: a new model's variables by path, which a new head is of.
      head: paths of the arrays that make the classes' scores.
      theirs: names of the weights' classes in order, None where they do not tell.
      classes: of the run, in order.
      choice: "auto" | "new" | "keep".

    Raises: CheckpointError if it is to be kept and cannot.
    """
    if not head:
        return given, []
    reason = _why_new(given, own, head, theirs, classes)
    if choice == "keep" and reason:
        raise CheckpointError(
            f'{reason}: init_head="keep" takes the head as it is; "auto" or "new" '
            "makes a new one"
        )
    if choice == "new" or reason:
        kept = {path: array for path, array in given.items() if path not in head}
        fresh = {path: own[path] for path in head}
        said = f"a new head for {len(classes)} classes"
        return kept | fresh, [f"{said} ({reason})" if reason else said]
    if theirs is None:
        said = f"the head is kept: it has {len(classes)} classes, whose names it lacks"
        return given, [said]
    if tuple(theirs) == tuple(classes):
        return given, []
    moved = {path: _reorder(given[path], theirs, classes) for path in head}
    return given | moved, ["the head's classes are put in this run's order"]


def reorder_head(
    variables: VariableDict,
    groups: Groups,
    theirs: Sequence[str] | None,
    classes: Sequence[str],
) -> VariableDict:
    """Return variables whose scores are of `classes`, in that order.

    Raises: CheckpointError if they are of other classes.
    """
    if theirs is None or tuple(theirs) == tuple(classes):
        return variables
    if set(theirs) != set(classes):
        raise CheckpointError(_tell_others(theirs, classes))
    head = parameter_groups.members(groups, variables["params"], contract.HEAD)
    flat = flatten(variables)
    moved = {f"params/{path}" for path in head}
    reordered = {path: _reorder(flat[path], theirs, classes) for path in moved}
    return unflatten(flat | reordered)


def _why_new(
    given: Arrays,
    own: Arrays,
    head: frozenset[str],
    theirs: Sequence[str] | None,
    classes: Sequence[str],
) -> str:
    """Return why a head cannot be kept; "" if it can."""
    if not head & given.keys():
        return "the weights have none"
    if theirs is not None:
        return "" if set(theirs) == set(classes) else _tell_others(theirs, classes)
    fits = all(path in given and given[path].shape == own[path].shape for path in head)
    return "" if fits else "the weights' is of another size and names no classes"


def _tell_others(theirs: Sequence[str], classes: Sequence[str]) -> str:
    shared = len(set(theirs) & set(classes))
    return (
        f"the weights' has {len(theirs)} classes, {_listed(theirs)}; the data has "
        f"{len(classes)}, {_listed(classes)}; {shared} are the same"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN_CLASSES]))
    return shown + (", ..." if len(names) > SHOWN_CLASSES else "")


def _reorder(
    array: np.ndarray, theirs: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """Return an array whose last axis counts `theirs` with one that counts `classes`.

    Of a head of several layers the others come as they are.
    """
    if np.shape(array)[-1:] != (len(theirs),):
        return array
    position = {name: index for index, name in enumerate(theirs)}
    return np.take(array, [position[name] for name in classes], axis=-1)
