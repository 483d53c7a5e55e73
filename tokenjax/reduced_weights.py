"""Trained weights put to use with another reduction of tokens than their own.

A method without weights of its own takes those that are there; one with some needs them
trained. What the trained method had of its own is left out where another is asked for.
"""

from typing import Any

import flax.traverse_util
import jax
from flax.typing import VariableDict

from tokenjax.errors import UserError
from tokenjax.models import contract


def fit(variables: VariableDict, trained: Any, model: Any) -> VariableDict:
    """Return the variables of a trained network for one that reduces otherwise.

    Where the reductions, or the classes, are the same they are returned as they are.

    Args:
      variables: of the trained network.
      trained: the network that they were trained as.
      model: the network that is to take them.

    Raises: UserError for a method that has weights which these lack.
    """
    if not _differ(trained, model):
        return variables
    shared, wanted = _paths(model.clone(reduction=None)), _paths(model)
    found = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    lacking = sorted(wanted - shared - found.keys())
    if lacking:
        raise UserError(
            f"reduction {model.reduction} has weights of its own ({lacking[0]}), which "
            "these lack: train with it, or take a method without"
        )
    spare = _paths(trained) - wanted - shared
    kept = {path: value for path, value in found.items() if path not in spare}
    return flax.traverse_util.unflatten_dict(kept, sep="/")


def _differ(trained: Any, model: Any) -> bool:
    return (
        type(trained) is type(model)
        and isinstance(model, contract.ReducesTokens)
        and model.reduction != trained.reduction
    )


def _paths(model: Any) -> set[str]:
    """Return the paths of all variables of a network."""
    inputs = model.example_inputs(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return set(flax.traverse_util.flatten_dict(dict(shapes), sep="/"))
