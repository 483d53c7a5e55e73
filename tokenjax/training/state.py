"""The state of a run and the jitted step that advances it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.typing import VariableDict

from tokenjax.initialization import draw_alike_together
from tokenjax.ops import batch_parts
from tokenjax.training import parameter_groups, parameter_names, plateau
from tokenjax.training.dependence import Slope, differentiate, update_reached
from tokenjax.training.parameter_groups import Groups
from tokenjax.training.settings import Settings

Batch: TypeAlias = Mapping[str, jax.Array]
Scalars: TypeAlias = dict[str, jax.Array]
ModelState: TypeAlias = Mapping[str, Any]  # collections besides "params", by name
Loss: TypeAlias = tuple[jax.Array, tuple[ModelState, Scalars]]
LossFunction: TypeAlias = Callable[["TrainState", Batch, jax.Array], Loss]
Step: TypeAlias = Callable[["TrainState", Batch], tuple["TrainState", Scalars]]


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint holds."""

    step: jax.Array  # () int32, updates done
    params: optax.Params
    model_state: ModelState  # e.g. batch_stats
    opt_state: optax.OptState
    ema_params: optax.Params | None  # None when off
    frozen: optax.Params | None = None  # what no step changes: a teacher's params

    def variables(self) -> VariableDict:
        """Return what is evaluated: averaged parameters if there are any."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, **self.model_state}


class TrainingTask(Protocol):
    """What a task plugs into the step; see `tokenjax.training.tasks.task`."""

    def init(self, key: jax.Array) -> VariableDict: ...

    def init_frozen(self) -> optax.Params | None: ...

    def parameter_groups(self) -> Groups: ...

    def loss(self, state: TrainState, batch: Batch, key: jax.Array) -> Loss: ...

    def gradient_scalars(self, gradients: optax.Updates) -> Scalars: ...


def make_init(
    task: TrainingTask, optimizer: optax.GradientTransformation, settings: Settings
) -> Callable[[jax.Array], TrainState]:
    """Return key -> a new run's state; to be jitted.

    Raises: UserError, when called, for a group of parameters that has no members.
    """

    new_variables = draw_alike_together(task.init)

    def init(key: jax.Array) -> TrainState:
        model_state = dict(new_variables(key))
        params = model_state.pop("params")
        parameter_groups.resolve_groups(task.parameter_groups(), params)
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
) -> Step:
    """Return (state, batch) -> (state, scalars); to be jitted with the state donated.

    The step's randomness is a function of (seed, step), so a resumed run repeats it.
    `sharding`: of a state that is split over the devices, see `devices`.
    """
    parts = settings.gradient_accumulation
    task_loss = _held(task.loss, settings.optimizer.freeze)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state.step)
        read = _gathered(state, sharding)
        if parts == 1:
            (loss, (model_state, scalars)), slope = _gradient(
                task_loss, read, batch, key
            )
        else:
            loss, model_state, scalars, slope = _accumulate(
                task_loss, read, batch, key, parts
            )
        gradients = slope.gradients
        if sharding is not None:  # from here on each device works on its pieces
            gradients = jax.lax.with_sharding_constraint(gradients, sharding.params)
        slope = dataclasses.replace(slope, gradients=gradients)
        updates, opt_state = update_reached(
            optimizer, slope, state.opt_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
        ema = state.ema_params
        if settings.ema_decay:
            ema = _averaged(params, ema, settings.ema_decay, state.step)
        rate, scale = schedule(state.step), plateau.find_scale(state.opt_state)
        scalars = {
            "loss": loss,
            "gradient_norm": optax.tree.norm(gradients),
            "learning_rate": rate if scale is None else rate * scale,
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


def _averaged(
    params: optax.Params, before: optax.Params, decay: float, step: jax.Array
) -> optax.Params:
    """Return the averages after update number `step` (from 0).

        average + (1 - min(decay, (1 + step) / (10 + step))) (params - average)

    Early in a run the average is over its last tenth or so: a `decay` that reaches
    farther back than the run would keep the first parameters. Without a count of its
    own, a checkpoint's averages are averages, whatever decay made them. What does not
    move stays as it is, bit for bit.
    """
    now = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(
        lambda new, old: old + (1 - now).astype(old.dtype) * (new - old), params, before
    )


def _gathered(state: TrainState, sharding: TrainState | None) -> TrainState:
    """Return the state with what the loss reads whole on every device."""
    if sharding is None:
        return state
    params, frozen = jax.lax.with_sharding_constraint(
        (state.params, state.frozen), sharding.step
    )
    return dataclasses.replace(state, params=params, frozen=frozen)


def _held(loss: LossFunction, freeze: tuple[str, ...]) -> LossFunction:
    """Return the loss with no gradient by what is frozen; jit leaves its work out."""
    if not freeze:
        return loss

    def held(state: TrainState, batch: Batch, key: jax.Array) -> Loss:
        still = parameter_names.find_frozen(freeze, state.params)
        mask = parameter_groups.map_paths(state.params, lambda path: path in still)
        params = jax.tree.map(
            lambda leaf, is_still: jax.lax.stop_gradient(leaf) if is_still else leaf,
            state.params,
            mask,
        )
        return loss(dataclasses.replace(state, params=params), batch, key)

    return held


def _gradient(
    loss: LossFunction, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[Loss, Slope]:
    """Return what the loss returns, and its gradient by the parameters."""

    def by_params(params: optax.Params) -> Loss:
        return loss(dataclasses.replace(state, params=params), batch, key)

    return differentiate(by_params, state.params)


def _accumulate(
    loss_of: LossFunction, state: TrainState, batch: Batch, key: jax.Array, parts: int
) -> tuple[jax.Array, ModelState, Scalars, Slope]:
    """Return the mean over `parts` slices of the batch, one after another.

    It is the whole batch's loss and gradient: what a ratio in the loss needs of all
    slices is measured first (`ops.batch_parts`). Draws, and a network's statistics of
    its batch, are each slice's own.

    Slice p takes rows p, p + parts, ...: every device keeps its own rows.
    """
    slices = jax.tree.map(
        lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), dict(batch)
    )
    numbered = (jnp.arange(parts), slices)
    whole = _measure(loss_of, state, numbered, key)

    def of_slice(
        model_state: ModelState, part: tuple[jax.Array, Batch]
    ) -> tuple[Loss, Slope]:
        index, rows = part
        before = dataclasses.replace(state, model_state=model_state)
        with batch_parts.given(whole):
            return _gradient(loss_of, before, rows, jax.random.fold_in(key, index))

    def one(carry: tuple, part: tuple) -> tuple:
        model_state, total = carry
        (loss, (model_state, scalars)), slope = of_slice(model_state, part)
        total = jax.tree.map(jnp.add, total, (loss, scalars, slope))
        return (model_state, total), None

    first = jax.tree.map(lambda x: x[0], numbered)
    (loss, (_, scalars)), slope = jax.eval_shape(of_slice, state.model_state, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (loss, scalars, slope))
    (model_state, total), _ = jax.lax.scan(one, (state.model_state, zeros), numbered)
    loss, scalars, slope = jax.tree.map(lambda x: x / parts, total)
    return loss, model_state, scalars, slope


def _measure(
    loss_of: LossFunction,
    state: TrainState,
    numbered: tuple[jax.Array, Batch],
    key: jax.Array,
) -> list[jax.Array]:
    """Return the means over all slices of what the loss has of each as a whole.

    jit leaves out what they do not depend on: nothing runs where a loss has none, and
    no network for weights that follow from the labels.
    """

    def one(
        model_state: ModelState, part: tuple[jax.Array, Batch]
    ) -> tuple[ModelState, list[jax.Array]]:
        index, rows = part
        before = dataclasses.replace(state, model_state=model_state)
        with batch_parts.recorded() as found:
            _, (model_state, _) = loss_of(before, rows, jax.random.fold_in(key, index))
        return model_state, found

    _, of_slices = jax.lax.scan(one, state.model_state, numbered)
    return [values.mean(axis=0) for values in of_slices]
