"""Update rules by name, each with its weight decay and learning rate.

    from tokenjax.training.settings.choices import OPTIMIZERS

    @OPTIMIZERS.register("lion")
    def lion(rule, schedule, groups):
        return [optax.lion(schedule, weight_decay=rule.weight_decay)]

adds one: `--config.optimizer.name=lion` then takes it. A rule is a list, in order, of
optax transformations: a checkpoint holds the state of each.
"""

from collections.abc import Callable
from typing import TypeAlias

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
import optax.contrib

from tokenjax.models import contract
from tokenjax.training import parameter_groups, parameter_names, plateau
from tokenjax.training.parameter_groups import Groups
from tokenjax.training.settings import Optimizer, Settings
from tokenjax.training.settings.choices import OPTIMIZERS

Transformations: TypeAlias = list[optax.GradientTransformation]
UpdateRule: TypeAlias = Callable[[Optimizer, optax.Schedule, Groups], Transformations]


@OPTIMIZERS.register("adamw")
def adamw(rule: Optimizer, schedule: optax.Schedule, groups: Groups) -> Transformations:
    """Return Adam with decoupled weight decay."""
    del groups
    return [_adam(rule), _decay(rule), optax.scale_by_learning_rate(schedule)]


@OPTIMIZERS.register("adam")
def adam(rule: Optimizer, schedule: optax.Schedule, groups: Groups) -> Transformations:
    """Return Adam with the decay added to the gradient (L2)."""
    del groups
    return [_decay(rule), _adam(rule), optax.scale_by_learning_rate(schedule)]


@OPTIMIZERS.register("sgd")
def sgd(rule: Optimizer, schedule: optax.Schedule, groups: Groups) -> Transformations:
    """Return the gradient itself, with L2 decay."""
    del groups
    return [_decay(rule), optax.scale_by_learning_rate(schedule)]


@OPTIMIZERS.register("momentum")
def momentum(
    rule: Optimizer, schedule: optax.Schedule, groups: Groups
) -> Transformations:
    """Return heavy-ball momentum as PyTorch has it, with L2 decay."""
    del groups
    trace = optax.trace(rule.momentum)
    return [_decay(rule), trace, optax.scale_by_learning_rate(schedule)]


@OPTIMIZERS.register("muon")
def muon(rule: Optimizer, schedule: optax.Schedule, groups: Groups) -> Transformations:
    """Return orthogonalised momentum for hidden matrices, Adam for the rest.

    Updates have AdamW's size (0.2 root mean square), so that its learning rates and
    weight decays serve. Source: Jordan 2024; Liu et al. 2025 (arXiv 2502.16982).
    """

    def hidden_matrices(params: optax.Params) -> optax.Params:
        """Mark the 2-D kernels but the head's; None for the rest.

        Optax asks again with the rest masked out, by nodes that have no dimensions.
        """
        head = parameter_groups.members(groups, params, contract.HEAD)
        flat = flax.traverse_util.flatten_dict(params, sep="/")
        axes = {
            path: optax.contrib.MuonDimensionNumbers()
            if _is_kernel(path)
            and path not in head
            and not isinstance(leaf, optax.MaskedNode)
            and leaf.ndim == 2
            else None
            for path, leaf in flat.items()
        }
        return flax.traverse_util.unflatten_dict(axes, sep="/")

    return [
        optax.contrib.muon(
            schedule,
            weight_decay=rule.weight_decay,
            adam_weight_decay=rule.weight_decay if rule.decay == "all" else 0.0,
            adam_b1=rule.beta1,
            adam_b2=rule.beta2,
            eps=rule.epsilon,
            muon_weight_dimension_numbers=hidden_matrices,
            consistent_rms=0.2,
        )
    ]


def make_optimizer(
    settings: Settings,
    schedule: optax.Schedule,
    groups: Groups,
    layers: contract.Layers = (),
    network_after: int = 0,
) -> optax.GradientTransformation:
    """Return clipping by the global norm, then the update rule.

    What is frozen has no part in it: no moments, no decay, no share of the norm.

    Args:
      settings: of the run.
      schedule: the learning rate.
      groups: of the model's parameters; {} without any.
      layers: of the model's parameters, for `optimizer.layer_decay`.
      network_after: steps, what `optimizer.network_after_epochs` are.

    Raises: UserError for a rule that nobody registered.
    """
    rule = settings.optimizer
    parts = OPTIMIZERS[rule.name](rule, schedule, groups)
    if settings.gradient_clip:
        parts = [optax.clip_by_global_norm(settings.gradient_clip), *parts]
    whole = optax.chain(*parts)
    if rule.freeze:
        whole = _but_frozen(whole, rule.freeze)
    if rule.layer_decay != 1:
        whole = optax.chain(whole, scale_by_layer(layers, rule.layer_decay))
    if rule.network_rate != 1 or network_after:
        held_back = scale_network(groups, rule.network_rate, network_after)
        whole = optax.chain(whole, held_back)
    if settings.schedule.name == plateau.NAME:
        whole = optax.chain(whole, plateau.scale_by_plateau())
    return whole


def scale_by_layer(
    layers: contract.Layers, decay: float
) -> optax.GradientTransformation:
    """Scale updates by decay^(last - layer): the head's are as they are.

    Source: BEiT (Bao et al. 2022); as in MAE the embedding is 0 and block i is i + 1.
    """

    def update(
        updates: optax.Updates, params: optax.Params | None = None
    ) -> optax.Updates:
        del params
        numbers, count = parameter_names.number_layers(layers, updates)
        flat = flax.traverse_util.flatten_dict(updates, sep="/")
        scaled = {
            path: value * decay ** (count - 1 - numbers[path])
            for path, value in flat.items()
        }
        return flax.traverse_util.unflatten_dict(scaled, sep="/")

    return optax.stateless(update)


def scale_network(
    groups: Groups, rate: float, after: int
) -> optax.GradientTransformation:
    """Scale updates of all but `PREDICTORS` by 0 for `after` steps, then by `rate`.

    Moments are those of the gradients from the first step on. Source: Rao et al. 2021
    (arXiv 2106.02034), raoyongming/DynamicViT, whose backbone has the rate 0.01.
    """

    def of_step(step: jax.typing.ArrayLike) -> jax.Array:
        return jnp.where(jnp.asarray(step) < after, 0.0, rate)

    def of_network(params: optax.Params) -> optax.Params:
        judges = parameter_groups.mask(groups, params, contract.PREDICTORS)
        return jax.tree.map(lambda judge: not judge, judges)

    return optax.masked(optax.scale_by_schedule(of_step), of_network)


def _but_frozen(
    rule: optax.GradientTransformation, freeze: tuple[str, ...]
) -> optax.GradientTransformation:
    def part_of_each(params: optax.Params) -> optax.Params:
        frozen = parameter_names.find_frozen(freeze, params)
        return parameter_groups.map_paths(
            params, lambda path: "frozen" if path in frozen else "learned"
        )

    parts = {"learned": rule, "frozen": optax.set_to_zero()}
    return optax.partition(parts, part_of_each)


def _adam(rule: Optimizer) -> optax.GradientTransformation:
    return optax.scale_by_adam(rule.beta1, rule.beta2, rule.epsilon)


def _decay(rule: Optimizer) -> optax.GradientTransformation:
    """Return the decay; of matrices alone biases, norms and embeddings are spared."""
    mask = _kernels if rule.decay == "matrices" else None
    return optax.add_decayed_weights(rule.weight_decay, mask=mask)


def _kernels(params: optax.Params) -> optax.Params:
    return parameter_groups.map_paths(params, _is_kernel)


def _is_kernel(path: str) -> bool:
    """Return whether it has Flax's name of a layer's matrix."""
    return path.split("/")[-1] == "kernel"
