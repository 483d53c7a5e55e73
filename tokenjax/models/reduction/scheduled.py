"""Numbers that training changes from step to step, handed to a method from outside.

A method reads such a number in training from the Flax collection "schedule" by
`read_scheduled`, within its own scope; where it is not given, the method's argument
holds. A trainer finds out what a model takes and gives it:

    tree = scheduled.find(model, variables, inputs)        once; {} if it takes none
    schedule = jax.tree.map(lambda _: rate, tree)          a step's number
    model.apply({**variables, "schedule": schedule}, *inputs, train=True)

It may be traced, so nothing is compiled again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

COLLECTION = "schedule"


def read_scheduled(module: nn.Module, name: str, usual: float) -> jax.Array | None:
    """Return a module's number of this step, () float32, or None if none is given.

    Args:
      module: at work.
      name: of the number.
      usual: what holds without; only `find` shows it.
    """
    if module.is_mutable_collection(COLLECTION) and not module.is_initializing():
        module.put_variable(COLLECTION, name, jnp.float32(usual))
    if not module.has_variable(COLLECTION, name):
        return None
    return jnp.asarray(module.get_variable(COLLECTION, name), jnp.float32)


def find(
    model: nn.Module, variables: Mapping[str, Any], inputs: Sequence[jax.Array]
) -> Any:
    """Return the tree of what a model takes, each a `jax.ShapeDtypeStruct`.

    Args:
      model: whose `__call__` takes `train`.
      variables: its own, or their shapes.
      inputs: of any batch size.
    """

    def train(variables: Any, *inputs: jax.Array) -> Any:
        keys = dict.fromkeys(("dropout", "gumbel", "params"), jax.random.key(0))
        return model.apply(
            variables, *inputs, train=True, rngs=keys, mutable=[COLLECTION]
        )

    _, found = jax.eval_shape(train, variables, *inputs)
    return found.get(COLLECTION, {})
