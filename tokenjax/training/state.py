"""The state of a run and the jitted step that advances it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import optax

from tokenjax.training.settings import Settings

Batch = Mapping[str, jax.Array]


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint holds."""

    step: jax.Array  # () int32, updates done
    params: Any
    model_state: Any  # the other collections, e.g. batch_stats
    opt_state: Any
    ema_params: Any  # None when off
    frozen: Any = None  # what the loss needs and no step changes: a teacher's params

    def variables(self) -> dict[str, Any]:
        """What is evaluated: averaged parameters if there are any."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, **self.model_state}


class TrainingTask(Protocol):
    """What a task plugs into the step; see `tokenjax.training.tasks.task`."""

    def init(self, key: jax.Array) -> dict[str, Any]: ...

    def init_frozen(self) -> Any: ...

    def loss(
        self,
        params: Any,
        model_state: Any,
        frozen: Any,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
    ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]: ...

    def gradient_scalars(self, gradients: Any) -> dict[str, jax.Array]: ...


def make_init(
    task: TrainingTask, optimizer: optax.GradientTransformation, settings: Settings
) -> Callable[[jax.Array], TrainState]:
    """key -> a new run's state; to be jitted."""

    def init(key: jax.Array) -> TrainState:
        model_state = dict(task.init(key))
        params = model_state.pop("params")
        ema = jax.tree.map(jnp.copy, params) if settings.ema_decay else None
        start = jnp.zeros((), jnp.int32)
        opt_state, frozen = optimizer.init(params), task.init_frozen()
        return TrainState(start, params, model_state, opt_state, ema, frozen)

    return init


def make_train_step(
    task: TrainingTask,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    settings: Settings,
    sharding: TrainState | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """(state, batch) -> (state, scalars); to be jitted with the state donated.

    The step's randomness is a function of (seed, step), so a resumed run repeats it.
    `sharding`: of a state that is split over the devices, see `devices`.
    """
    parts = settings.gradient_accumulation
    gradient = jax.value_and_grad(task.loss, has_aux=True)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state.step)
        read = _gathered(state, sharding)
        if parts == 1:
            (loss, (model_state, scalars)), gradients = gradient(
                read.params, read.model_state, read.frozen, batch, key, read.step
            )
        else:
            loss, model_state, scalars, gradients = _accumulate(
                gradient, read, batch, key, parts
            )
        if sharding is not None:  # from here on each device works on its pieces
            gradients = jax.lax.with_sharding_constraint(gradients, sharding.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema_params
        if settings.ema_decay:
            ema = optax.incremental_update(params, ema, 1 - settings.ema_decay)
        scalars = {
            "loss": loss,
            "gradient_norm": optax.tree.norm(gradients),
            "learning_rate": schedule(state.step),
            **task.gradient_scalars(gradients),
            **scalars,
        }
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            ema_params=ema,
        )
        return state, scalars

    return step


def _gathered(state: TrainState, sharding: TrainState | None) -> TrainState:
    """The state with what the loss reads whole on every device."""
    if sharding is None:
        return state
    params, frozen = jax.lax.with_sharding_constraint(
        (state.params, state.frozen), sharding.step
    )
    return dataclasses.replace(state, params=params, frozen=frozen)


def _accumulate(
    gradient: Callable, state: TrainState, batch: Batch, key: jax.Array, parts: int
) -> tuple:
    """The mean over `parts` slices of the batch, one after another.

    Slice p takes rows p, p + parts, ...: every device keeps its own rows.
    """
    slices = jax.tree.map(
        lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), dict(batch)
    )

    def one(carry: tuple, part: tuple) -> tuple:
        model_state, total = carry
        index, rows = part
        (loss, (model_state, scalars)), gradients = gradient(
            state.params,
            model_state,
            state.frozen,
            rows,
            jax.random.fold_in(key, index),
            state.step,
        )
        total = jax.tree.map(jnp.add, total, (loss, scalars, gradients))
        return (model_state, total), None

    first = jax.tree.map(lambda x: x[0], slices)
    (loss, (_, scalars)), gradients = jax.eval_shape(
        gradient, state.params, state.model_state, state.frozen, first, key, state.step
    )
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), (loss, scalars, gradients)
    )
    indices = jnp.arange(parts)
    (model_state, total), _ = jax.lax.scan(
        one, (state.model_state, zeros), (indices, slices)
    )
    loss, scalars, gradients = jax.tree.map(lambda x: x / parts, total)
    return loss, model_state, scalars, gradients
