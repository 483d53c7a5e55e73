"""The vector that a network makes of a picture, before any class is told from it.

Of a classifier what its head takes (the group `contract.HEAD`), of several heads the
mean; of a network without a head its output, of tokens the first.
"""

from typing import Any

import flax.linen as nn
import jax
from flax.typing import VariableDict

from tokenjax.errors import UserError
from tokenjax.models import contract

COLLECTION, NAME = "embedding", "taken"  # where Flax keeps what the head was given
BELOW = "/**"  # how a group says: a module, and all that is below


def embed(model: Any, variables: VariableDict, images: jax.Array) -> jax.Array:
    """Return float32 (b, c) of normalised images; to be jitted.

    Raises: UserError for a head that is no module of the network's.
    """
    paths = head_paths(model)
    if not paths:
        output = model.apply(variables, images)
        tokens = output[0] if isinstance(output, tuple) else output
        return (tokens[:, 0] if tokens.ndim == 3 else tokens).astype("float32")

    def keep(
        call: Any, arguments: tuple, named: dict, context: nn.module.InterceptorContext
    ) -> Any:
        module = context.module
        if context.method_name == "__call__" and "/".join(module.path) in paths:
            module.sow(COLLECTION, NAME, arguments[0])
        return call(*arguments, **named)

    with nn.intercept_methods(keep):
        _, kept = model.apply(variables, images, mutable=[COLLECTION])
    taken = []
    for path in paths:
        found: Any = kept.get(COLLECTION, {})
        for part in path.split("/"):
            found = found.get(part, {})
        if NAME not in found:
            raise UserError(
                f"{type(model).__name__} says that {path!r} is its head, but calls no "
                "module of that name: what it takes cannot be told"
            )
        taken.append(found[NAME][0].astype("float32"))
    return sum(taken[1:], taken[0]) / len(taken)


def head_paths(model: contract.Model) -> tuple[str, ...]:
    """Return the modules that make scores, "/" between a one's names."""
    patterns = model.parameter_groups().get(contract.HEAD, ())
    return tuple(pattern.removesuffix(BELOW) for pattern in patterns)
