"""A new run's backbone with converted weights."""

import dataclasses
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from tokenjax import paths, storage
from tokenjax.errors import CheckpointError, UserError
from tokenjax.models import contract
from tokenjax.training import parameter_groups
from tokenjax.training.initialize import check_variables
from tokenjax.training.parameter_groups import Groups
from tokenjax.training.state import TrainState


def with_backbone(
    state: TrainState, groups: Groups, source: str, sharding: jax.sharding.Sharding
) -> TrainState:
    """Return the state with parameters of a checkpoint that `tokenjax.convert` wrote.

    Args:
      state: of a new run.
      groups: of the model's parameters.
      source: the checkpoint's directory.
      sharding: of the new arrays.

    Raises: CheckpointError that lists what is missing, unexpected or misshapen.
    """
    key = parameter_groups.subtree(groups, contract.BACKBONE)
    own: dict[str, Any] = {
        name: tree[key]
        for name, tree in {"params": state.params, **state.model_state}.items()
        if key in tree
    }
    cameras = parameter_groups.members(groups, state.params, contract.CAMERAS)
    try:
        directory = paths.resolve(source, "directory")
        found, _ = storage.load_variables(directory)
        given = {name: dict(tree) for name, tree in found.items()}
        if "params" in given:
            given["params"] = _with_own(own["params"], given["params"], cameras, key)
        check_variables(own, given)
    except UserError as error:
        raise CheckpointError(f"reid.backbone_from {source}: {error}") from error
    placed = jax.device_put(given, sharding)
    params = {**state.params, key: placed.pop("params")}
    constants = {
        name: {**state.model_state[name], key: tree} for name, tree in placed.items()
    }  # a T2T-ViT's positions, say
    ema = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(
        state,
        params=params,
        model_state={**state.model_state, **constants},
        ema_params=ema,
    )


def _with_own(
    own: optax.Params, given: optax.Params, cameras: frozenset[str], key: str
) -> optax.Params:
    """Return the given weights, with the run's camera embeddings if they lack them."""
    flat = flax.traverse_util.flatten_dict(dict(given), sep="/")
    for path, value in flax.traverse_util.flatten_dict(dict(own), sep="/").items():
        if f"{key}/{path}" in cameras:
            flat.setdefault(path, value)
    return flax.traverse_util.unflatten_dict(flat, sep="/")
