"""A new run's backbone with converted weights."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from tokenjax import storage
from tokenjax.errors import CheckpointError
from tokenjax.training.initialize import check_variables
from tokenjax.training.state import TrainState

BACKBONE = "backbone"
OWN = "sie_embed"  # belongs to the run's cameras: kept where the weights lack it


def with_backbone(state: TrainState, source: str, sharding: Any) -> TrainState:
    """The state with the parameters of a checkpoint that `tokenjax.convert` wrote.

    Raises: CheckpointError that lists what is missing, unexpected or misshapen.
    """
    own = {
        name: tree[BACKBONE]
        for name, tree in {"params": state.params, **state.model_state}.items()
        if BACKBONE in tree
    }
    try:
        found, _ = storage.load_variables(pathlib.Path(source))
        given = {name: dict(tree) for name, tree in found.items()}
        if OWN in own["params"] and OWN not in given["params"]:
            given["params"][OWN] = own["params"][OWN]
        check_variables(own, given)
    except CheckpointError as error:
        raise CheckpointError(f"reid.backbone_from {source}: {error}") from error
    placed = jax.device_put(given, sharding)
    params = {**state.params, BACKBONE: placed.pop("params")}
    constants = {
        name: {**state.model_state[name], BACKBONE: tree}
        for name, tree in placed.items()
    }  # a T2T-ViT's positions, say
    ema = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(
        state,
        params=params,
        model_state={**state.model_state, **constants},
        ema_params=ema,
    )
