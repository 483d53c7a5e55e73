"""Learning-rate schedules and update rules, from settings."""

from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import optax
import optax.contrib

from tokenjax.training.settings import Optimizer, Settings


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
    if rule.name == "muon":
        clip = optax.clip_by_global_norm(settings.gradient_clip)
        parts = [clip] * bool(settings.gradient_clip) + [_muon(rule, schedule)]
        return optax.chain(*parts)
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


def _muon(rule: Optimizer, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Orthogonalised momentum for the hidden matrices, Adam for the rest.

    Updates have AdamW's size (0.2 root mean square), so that its learning rates and
    weight decays serve. Source: Jordan 2024; Liu et al. 2025 (arXiv 2502.16982).
    """
    return optax.contrib.muon(
        schedule,
        weight_decay=rule.weight_decay,
        adam_weight_decay=rule.weight_decay if rule.decay == "all" else 0.0,
        adam_b1=rule.beta1,
        adam_b2=rule.beta2,
        eps=rule.epsilon,
        muon_weight_dimension_numbers=_hidden_matrices,
        consistent_rms=0.2,
    )


def _hidden_matrices(params: Any) -> Any:
    """What Muon turns: 2-D kernels but the head's; None for the rest.

    Optax asks again with the rest masked out, by nodes that have no dimensions.
    """
    flat = flax.traverse_util.flatten_dict(params)
    axes = {
        path: optax.contrib.MuonDimensionNumbers()
        if path[-1] == "kernel" and getattr(leaf, "ndim", 0) == 2 and "head" not in path
        else None
        for path, leaf in flat.items()
    }
    return flax.traverse_util.unflatten_dict(axes)


def _is_kernel(params: Any) -> Any:
    """True for the matrices: biases, norms, gates and embeddings do not decay."""
    flat = flax.traverse_util.flatten_dict(params)
    mask = {path: path[-1] == "kernel" for path in flat}
    return flax.traverse_util.unflatten_dict(mask)
