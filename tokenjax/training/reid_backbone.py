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
    own = state.params[BACKBONE]
    try:
        found, _ = storage.load_variables(pathlib.Path(source))
        given = found["params"]
        if OWN in own and OWN not in given:
            given = {**given, OWN: own[OWN]}
        check_variables({"params": own}, {"params": given})
    except CheckpointError as error:
        raise CheckpointError(f"reid.backbone_from {source}: {error}") from error
    placed = jax.device_put(dict(given), sharding)
    params = {**state.params, BACKBONE: placed}
    ema = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, ema_params=ema)
