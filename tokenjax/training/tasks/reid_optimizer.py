"""Groups of parameters for re-identification, each with a learning rate of its own.

    group                                    base rate
    below "backbone", biases included        `reid.backbone_learning_rate`
    a bias elsewhere                         `optimizer.learning_rate` * `bias_factor`
    a classifier, with `large_classifier`    `optimizer.learning_rate` * 2
    the rest                                 `optimizer.learning_rate`

`reid_schedule` says what becomes of it over the epochs. The update rule is the one of
`optimizer`, for which Adam's decay is added to the gradient (L2). What is frozen (the
biases of the BN necks; the backbone, if asked for) neither moves nor decays. During the
first `reid.direct_only_epochs` the parts in `DELAYED` do not move either, and neither
do their moments nor their count of updates.

Source: DeMo2 at 6334359, solver/make_optimizer.py, where all parameters decay
(`optimizer.decay` "all"). Ours: the delay.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.reid_schedule import (
    ReidSchedule,
    group_schedule,
    recorded_noise,
)

BACKBONE = "backbone"
DELAYED = ("fusion", "sdtps", "bottleneck_fused", "classifier_fused")


def reid_optimizer(
    settings: Settings, num_examples: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser, and the schedule of ordinary parameters, which is logged."""
    reid, base = settings.reid, settings.optimizer.learning_rate
    steps_per_epoch = num_examples / settings.batch_size
    schedule = _schedule(settings, num_examples)

    def of_group(rate: float) -> optax.Schedule:
        return group_schedule(rate, schedule, steps_per_epoch)

    def rates(params: Any) -> Any:
        return group_rates(
            params,
            base_learning_rate=base,
            backbone_learning_rate=reid.backbone_learning_rate,
            bias_factor=reid.bias_factor,
            large_fc=reid.large_classifier,
        )

    def frozen(params: Any) -> Any:
        return _by_path(params, lambda path: _is_frozen(path, reid.freeze_backbone))

    delay = settings.in_steps(reid.direct_only_epochs, num_examples)
    parts = [optax.masked(optax.set_to_zero(), frozen)]
    if settings.gradient_clip:
        parts.append(optax.clip_by_global_norm(settings.gradient_clip))
    parts += [_directions(settings, frozen, delay), scale_by_group(rates, of_group)]
    return optax.chain(*parts), of_group(base)


def group_rates(
    params: Any,
    *,
    base_learning_rate: float,
    backbone_learning_rate: float,
    bias_factor: float = 2.0,
    large_fc: bool = False,
    backbone_key: str = BACKBONE,
) -> Any:
    """A tree like `params` of base rates, as in the module's docstring."""

    def rate(path: tuple[str, ...]) -> float:
        if path[0] == backbone_key:
            return backbone_learning_rate
        if large_fc and path[0].startswith("classifier"):
            return base_learning_rate * 2
        is_bias = any("bias" in name for name in path)
        return base_learning_rate * (bias_factor if is_bias else 1)

    return _by_path(params, rate)


def scale_by_group(
    rates: Callable[[Any], Any], of_group: Callable[[float], optax.Schedule]
) -> optax.GradientTransformation:
    """Times of_group(base rate)(step), the base rate by `rates` of the parameters."""

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        tree = rates(updates)
        now = {rate: of_group(rate)(state.count) for rate in set(jax.tree.leaves(tree))}
        updates = jax.tree.map(lambda u, rate: u * now[rate], updates, tree)
        count = optax.safe_increment(state.count)
        return updates, optax.ScaleByScheduleState(count)

    return optax.GradientTransformation(init, update)


def _schedule(settings: Settings, num_examples: int) -> ReidSchedule:
    """A final rate of 0 would waste the last epoch: it stands for the recorded one."""
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
    settings: Settings, frozen: Callable[[Any], Any], delay: int
) -> optax.GradientTransformation:
    """What to add to the parameters at a learning rate of 1."""
    plain = dataclasses.replace(settings, gradient_clip=0.0)
    rule = make_optimizer(plain, optax.constant_schedule(1.0))
    kinds = {"always": rule, "never": optax.set_to_zero()}
    if delay:
        kinds["later"] = optax.transforms.conditionally_mask(
            rule, lambda step: step >= delay
        )

    def kind(params: Any) -> Any:
        later = _by_path(params, lambda path: bool(delay) and path[0] in DELAYED)
        return jax.tree.map(
            lambda never, later: "never" if never else "later" if later else "always",
            frozen(params),
            later,
        )

    return optax.partition(kinds, kind)


def _is_frozen(path: tuple[str, ...], freeze_backbone: bool) -> bool:
    neck = any(name.startswith("bottleneck_") for name in path[:-1])
    return (neck and path[-1] == "bias") or (freeze_backbone and path[0] == BACKBONE)


def _by_path(tree: Any, function: Callable[[tuple[str, ...]], Any]) -> Any:
    """A tree of the same structure of what the function says of every path."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: function(tuple(entry.key for entry in path)), tree
    )
