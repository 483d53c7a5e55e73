"""Variables as one mapping: "params/head/kernel" -> array."""

from typing import Any, TypeAlias

import flax.traverse_util
from flax.typing import VariableDict

Arrays: TypeAlias = dict[str, Any]  # numpy's or JAX's


def flatten(variables: VariableDict) -> Arrays:
    """Return the arrays of all collections by "/"-joined path."""
    return dict(flax.traverse_util.flatten_dict(dict(variables), sep="/"))


def unflatten(arrays: Arrays) -> VariableDict:
    """Undo `flatten`."""
    return dict(flax.traverse_util.unflatten_dict(arrays, sep="/"))
