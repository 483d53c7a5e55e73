"""Schedule "plateau": the rate falls when validation has stopped getting better.

    better    value > best (1 + THRESHOLD), and the first value
    rate      max(rate * factor, minimum), once more than `patience` evaluations in a
              row were not better; then the count begins anew

as PyTorch's ReduceLROnPlateau does with mode "max" and its other defaults. The value is
what the best checkpoint is chosen by, after every evaluation of a run.

The rate's scale is a number in the optimiser's state, so that a checkpoint holds it and
the compiled step takes it like any other: nothing is compiled again when it falls.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tokenjax.training.settings import Schedule

NAME = "plateau"
THRESHOLD = 1e-4  # relative: less than that is not better
SMALLEST_FALL = 1e-8  # of the rate: less than that is none


class PlateauState(NamedTuple):
    """What a checkpoint holds of it, scalars."""

    scale: jax.Array  # float32, times the learning rate
    best: jax.Array  # float32, value so far
    waited: jax.Array  # int32, evaluations since the best or since the rate fell


def scale_by_plateau() -> optax.GradientTransformation:
    """Return a rule that scales updates by its state, which `advance` changes."""

    def init(params: optax.Params) -> PlateauState:
        del params
        return PlateauState(
            jnp.ones((), jnp.float32),
            jnp.full((), -jnp.inf, jnp.float32),
            jnp.zeros((), jnp.int32),
        )

    def update(
        updates: optax.Updates, state: PlateauState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, PlateauState]:
        del params
        scaled = jax.tree.map(
            lambda each: each * state.scale.astype(each.dtype), updates
        )
        return scaled, state

    return optax.GradientTransformation(init, update)


def find_scale(opt_state: optax.OptState) -> jax.Array | None:
    """Return what the learning rate is scaled by; None without the schedule."""
    found = [leaf for leaf in _leaves(opt_state) if isinstance(leaf, PlateauState)]
    return found[0].scale if found else None


def advance(
    opt_state: optax.OptState, value: float, schedule: Schedule, top: float
) -> optax.OptState:
    """Return the optimiser's state after an evaluation that found `value`.

    Args:
      opt_state: with a `PlateauState` somewhere, or without: then it stays as it is.
      value: larger is better.
      schedule: of the settings.
      top: the learning rate at scale 1.
    """

    def after(leaf: Any) -> Any:
        if not isinstance(leaf, PlateauState):
            return leaf
        scale, best, waited = (number.item() for number in jax.device_get(leaf))
        new = _after(scale, best, waited, value, schedule, top)
        return PlateauState(
            *(
                jax.device_put(number, old.sharding)
                for number, old in zip(new, leaf, strict=True)
            )
        )

    return jax.tree.map(after, opt_state, is_leaf=_is_state)


def _after(
    scale: float, best: float, waited: int, value: float, schedule: Schedule, top: float
) -> tuple[np.float32, np.float32, np.int32]:
    """Return what follows on a state; computed in double precision."""
    if value > best * (1 + THRESHOLD):
        best, waited = value, 0
    else:
        waited += 1
    if waited > schedule.patience:
        waited = 0
        rate = max(
            top * scale * schedule.plateau_factor, schedule.minimum_learning_rate
        )
        if top * scale - rate > SMALLEST_FALL:
            scale = rate / top
    return np.float32(scale), np.float32(best), np.int32(waited)


def _is_state(leaf: Any) -> bool:
    return isinstance(leaf, PlateauState)


def _leaves(opt_state: optax.OptState) -> list[Any]:
    return jax.tree.leaves(opt_state, is_leaf=_is_state)
