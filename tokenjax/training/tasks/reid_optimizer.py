"""Groups of parameters for re-identification, each with a learning rate of its own.

    group of the model                       base rate
    "backbone", biases included              `reid.backbone_learning_rate`
    a bias elsewhere                         `optimizer.learning_rate` * `bias_factor`
    "head", with `large_classifier`          `optimizer.learning_rate` * 2
    the rest                                 `optimizer.learning_rate`

`reid_schedule` says what becomes of it over the epochs. The update rule is the one of
`optimizer`, for which Adam's decay is added to the gradient (L2). What is frozen
("constant"; `optimizer.freeze`; the backbone, if asked for) neither moves nor decays.
During the first `reid.direct_only_epochs` the group "fused" does not move either, and
neither do its moments nor its count of updates.

Source: DeMo2 at 6334359, solver/make_optimizer.py, where all parameters decay
(`optimizer.decay` "all"). Ours: the delay.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

from tokenjax.models import contract
from tokenjax.training import parameter_groups, parameter_names
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.parameter_groups import Groups
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.reid_schedule import (
    ReidSchedule,
    group_schedule,
    recorded_noise,
)

OfParams: TypeAlias = Callable[[optax.Params], optax.Params]  # a value for each


def reid_optimizer(
    settings: Settings, num_examples: int, groups: Groups
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Return the optimiser, and the schedule of ordinary parameters, to be logged."""
    reid, base = settings.reid, settings.optimizer.learning_rate
    steps_per_epoch = num_examples / settings.batch_size
    schedule = _schedule(settings, num_examples)
    still: tuple[str, ...] = (contract.CONSTANT,)
    if reid.freeze_backbone:
        still = (contract.CONSTANT, contract.BACKBONE)

    def of_group(rate: float) -> optax.Schedule:
        return group_schedule(rate, schedule, steps_per_epoch)

    def rates(params: optax.Params) -> optax.Params:
        return group_rates(
            params,
            groups,
            base_learning_rate=base,
            backbone_learning_rate=reid.backbone_learning_rate,
            bias_factor=reid.bias_factor,
            large_fc=reid.large_classifier,
        )

    def frozen(params: optax.Params) -> optax.Params:
        paths = parameter_groups.members(groups, params, *still)
        paths |= parameter_names.find_frozen(settings.optimizer.freeze, params)
        return parameter_groups.map_paths(params, lambda path: path in paths)

    def later(params: optax.Params) -> optax.Params:
        return parameter_groups.mask(groups, params, contract.FUSED)

    delay = settings.in_steps(reid.direct_only_epochs, num_examples)
    parts = [optax.masked(optax.set_to_zero(), frozen)]
    if settings.gradient_clip:
        parts.append(optax.clip_by_global_norm(settings.gradient_clip))
    directions = _directions(settings, groups, frozen, later, delay)
    parts += [directions, scale_by_group(rates, of_group)]
    return optax.chain(*parts), of_group(base)


def group_rates(
    params: optax.Params,
    groups: Groups,
    *,
    base_learning_rate: float,
    backbone_learning_rate: float,
    bias_factor: float = 2.0,
    large_fc: bool = False,
) -> optax.Params:
    """Return a tree like `params` of base rates, as in the module's docstring."""
    backbone = parameter_groups.members(groups, params, contract.BACKBONE)
    head = parameter_groups.members(groups, params, contract.HEAD)

    def rate(path: str) -> float:
        if path in backbone:
            return backbone_learning_rate
        if large_fc and path in head:
            return base_learning_rate * 2
        is_bias = any("bias" in name for name in path.split("/"))
        return base_learning_rate * (bias_factor if is_bias else 1)

    return parameter_groups.map_paths(params, rate)


def scale_by_group(
    rates: OfParams, of_group: Callable[[float], optax.Schedule]
) -> optax.GradientTransformation:
    """Scale by of_group(base rate)(step), the base rate by `rates` of the params."""

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(
        updates: optax.Updates,
        state: optax.ScaleByScheduleState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, optax.ScaleByScheduleState]:
        del params
        tree = rates(updates)
        now = {rate: of_group(rate)(state.count) for rate in set(jax.tree.leaves(tree))}
        updates = jax.tree.map(lambda u, rate: u * now[rate], updates, tree)
        count = optax.safe_increment(state.count)
        return updates, optax.ScaleByScheduleState(count)

    return optax.GradientTransformation(init, update)


def _schedule(settings: Settings, num_examples: int) -> ReidSchedule:
    """Return what all groups share; a final rate of 0 stands for the recorded one.

    It would waste the last epoch.
    """
    steps_per_epoch = num_examples / settings.batch_size
    epochs = max(1, round(settings.total_steps(num_examples) / steps_per_epoch))
    noisy = settings.reid.learning_rate_noise
    return ReidSchedule(
        base_learning_rate=settings.optimizer.learning_rate,
        epochs=epochs,
        warmup_epochs=settings.schedule.warmup_epochs,
        warmup_start=settings.reid.warmup_start,
        minimum=settings.schedule.minimum_learning_rate or None,
        noise=recorded_noise(epochs) if noisy else (),
    )


def _directions(
    settings: Settings, groups: Groups, frozen: OfParams, later: OfParams, delay: int
) -> optax.GradientTransformation:
    """Return what adds to the parameters at a learning rate of 1."""
    base = dataclasses.replace(settings.optimizer, freeze=())
    plain = dataclasses.replace(settings, gradient_clip=0.0, optimizer=base)
    rule = make_optimizer(plain, optax.constant_schedule(1.0), groups)
    kinds = {"always": rule, "never": optax.set_to_zero()}
    if delay:
        kinds["later"] = optax.transforms.conditionally_mask(
            rule, lambda step: step >= delay
        )

    def kind(never: bool, waits: bool) -> str:
        if never:
            return "never"
        return "later" if delay and waits else "always"

    def kind_of_each(params: optax.Params) -> optax.Params:
        return jax.tree.map(kind, frozen(params), later(params))

    return optax.partition(kinds, kind_of_each)
