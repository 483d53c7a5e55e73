"""A new run that starts from given weights."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from flax.typing import VariableDict

from tokenjax.errors import CheckpointError
from tokenjax.training.state import TrainState


def with_variables(
    state: TrainState, variables: VariableDict, sharding: jax.sharding.Sharding
) -> TrainState:
    """Return the state with its parameters (and averages, and statistics) replaced.

    Raises: CheckpointError that lists what is missing, unexpected or misshapen.
    """
    own = {"params": state.params, **state.model_state}
    check_variables(own, variables)
    placed = jax.device_put(dict(variables), sharding)
    params = placed.pop("params")
    ema = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, model_state=placed, ema_params=ema)


def check_variables(expected: optax.Params, given: optax.Params) -> None:
    """Raise CheckpointError unless both trees have the same paths and shapes."""
    wanted = flax.traverse_util.flatten_dict(expected, sep="/")
    found = flax.traverse_util.flatten_dict(given, sep="/")
    problems = [f"missing: {path}" for path in sorted(wanted.keys() - found.keys())]
    problems += [f"unexpected: {path}" for path in sorted(found.keys() - wanted.keys())]
    problems += [
        f"wrong shape: {path} is {found[path].shape}, the model's is {value.shape}"
        for path, value in sorted(wanted.items())
        if path in found and found[path].shape != value.shape
    ]
    if problems:
        shown = problems[:20]
        if problems[20:]:
            shown.append(f"and {len(problems) - 20} more")
        raise CheckpointError(
            "the checkpoint does not fit the model:\n  " + "\n  ".join(shown)
        )
