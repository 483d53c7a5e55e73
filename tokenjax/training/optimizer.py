"""Learning-rate schedules and update rules, from settings."""

from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import optax

from tokenjax.training.settings import Settings


def make_schedule(settings: Settings, num_examples: int) -> optax.Schedule:
    """Learning rate as a function of the step (from 0), in a trace or out of it.

    A linear warm-up from 0 over `warmup_epochs`, then the named schedule over what is
    left: cosine to `minimum_learning_rate`, times `factor` every `step_epochs` or at
    each of `milestones` (epochs counted from the run's start), or constant.
    """
    schedule, top = settings.schedule, settings.optimizer.learning_rate
    warmup = settings.in_steps(schedule.warmup_epochs, num_examples)
    remaining = max(settings.total_steps(num_examples) - warmup, 1)

    def boundary(epochs: float) -> int:
        return max(settings.in_steps(epochs, num_examples) - warmup, 0)

    if schedule.name == "cosine":
        end = schedule.minimum_learning_rate / top if top else 0.0
        main = optax.cosine_decay_schedule(top, remaining, alpha=end)
    elif schedule.name == "step":
        every = max(settings.in_steps(schedule.step_epochs, num_examples), 1)

        def main(step: Any) -> Any:
            return top * schedule.factor ** jnp.floor((step + warmup) / every)

    elif schedule.name == "multistep":
        scales = {boundary(epochs): schedule.factor for epochs in schedule.milestones}
        main = optax.piecewise_constant_schedule(top, scales)
    else:
        main = optax.constant_schedule(top)
    if not warmup:
        return main
    rise = optax.linear_schedule(0.0, top, warmup)
    return optax.join_schedules([rise, main], [warmup])


def make_optimizer(
    settings: Settings, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Clipping, then the update rule with its weight decay and learning rate."""
    rule = settings.optimizer
    mask = _is_kernel if rule.decay == "matrices" else None
    decay = optax.add_decayed_weights(rule.weight_decay, mask=mask)
    adam = optax.scale_by_adam(rule.beta1, rule.beta2, rule.epsilon)
    parts = {
        "adamw": [adam, decay],
        "adam": [decay, adam],
        "sgd": [decay],
        "momentum": [decay, optax.trace(rule.momentum)],
    }[rule.name]
    if settings.gradient_clip:
        parts = [optax.clip_by_global_norm(settings.gradient_clip), *parts]
    return optax.chain(*parts, optax.scale_by_learning_rate(schedule))


def _is_kernel(params: Any) -> Any:
    """True for the matrices: biases, norms, gates and embeddings do not decay."""
    flat = flax.traverse_util.flatten_dict(params)
    mask = {path: path[-1] == "kernel" for path in flat}
    return flax.traverse_util.unflatten_dict(mask)
