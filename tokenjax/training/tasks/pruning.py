"""The pruning task: a network learns to drop tokens from one that keeps them all.

    loss = classification (with the model's ratio loss)
           + logit_weight KL(teacher || student)
           + token_weight mean over kept tokens of their distance to the teacher's

A distance is ||student - teacher||^2 / dim, or with `token_distance` "kl" that of the
softmaxes over the channels, KL(teacher || student), as for LV-ViT. The student starts
from the teacher's weights; its predictors are new.

Source: Rao et al. 2021 (arXiv 2106.02034), section 3.3, whose weights are the defaults.
"""

import dataclasses
import functools
import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from tokenjax.data import Dataset
from tokenjax.errors import CheckpointError, UserError
from tokenjax.models import contract
from tokenjax.ops.batch_parts import over_parts
from tokenjax.training import parameter_groups
from tokenjax.training.adaptation import reorder_head
from tokenjax.training.checkpoints import load_weights
from tokenjax.training.initialize import check_variables
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.state import Batch, Loss, TrainState
from tokenjax.training.tasks.classification import Classification
from tokenjax.training.tasks.task import Summary


@TASKS.register("pruning")
class Pruning(Classification):
    """Classification by a model that prunes, distilled from one that does not."""

    takes_teacher = True
    evaluates_as = "classification"
    model: contract.Prunes

    def __init__(
        self,
        model: contract.Model,
        dataset: Dataset,
        settings: Settings,
        teacher: pathlib.Path | None = None,
    ):
        """`teacher`: a workdir or converted checkpoint, read when a run starts.

        Raises: UserError for a model that does not learn to prune.
        """
        super().__init__(model, dataset, settings, teacher)
        learns = isinstance(model, contract.Prunes) and model.learns_to_prune()
        if not learns or contract.PREDICTORS not in self.parameter_groups():
            raise UserError(
                'task "pruning" trains a model with pruning="learned" (dynamic_vit) '
                'or reduction="dynamicvit" (vit, vit_base_patch16, ...), '
                f"not {settings.model['name']} as it is configured"
            )
        self.unpruned = self.model.unpruned()

    @classmethod
    def headline(cls, summary: Summary) -> list[str]:
        """Return the classifier's lines, and its teacher's accuracy where measured."""
        lines = super().headline(summary)
        if "teacher_top1" in summary:
            top1 = summary["teacher_top1"]
            lines.append(f"its teacher, which keeps every token: {top1:.2%}")
        return lines

    @functools.cached_property
    def _shapes(self) -> optax.Params:
        """Return the shapes of the student's parameters."""
        return jax.eval_shape(self.init, jax.random.key(0))["params"]

    def init_frozen(self) -> optax.Params:
        """Return zeros where the teacher's parameters go."""
        return jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            self._without_predictors(self._shapes),
        )

    def start(self, state: TrainState, sharding: jax.sharding.Sharding) -> TrainState:
        """Give teacher and, unless `init_from` did, student the teacher's weights.

        Its classes may be in another order.

        Raises: CheckpointError if the teacher is another network.
        """
        if self.teacher is None:
            raise UserError("task pruning needs a teacher to start from")
        which = self.settings.checkpoint.evaluate
        weights = load_weights(self.teacher, which)
        groups, found = self.parameter_groups(), weights.variables
        try:
            if weights.card is not None:
                names = self.info.class_names
                found = reorder_head(found, groups, weights.card.classes, names)
            frozen = self._without_predictors(found["params"])
            check_variables(state.frozen, frozen)
        except CheckpointError as error:
            message = f"distillation.teacher {self.teacher}: {error}"
            raise CheckpointError(message) from error
        frozen = jax.device_put(frozen, sharding)
        state = dataclasses.replace(state, frozen=frozen)
        if self.settings.init_from:
            return state
        copied = jax.tree.map(jnp.copy, frozen)  # the step gives its buffers away
        params = _joined(state.params, copied)
        ema = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
        return dataclasses.replace(state, params=params, ema_params=ema)

    def loss(self, state: TrainState, batch: Batch, key: jax.Array) -> Loss:
        """Return the loss of the module's docstring."""
        image_key, model_key = jax.random.split(key)
        mixed = self.training_images(batch, image_key)
        logits, aux, model_state = self.forward(state, mixed.images, model_key)
        assert state.frozen is not None
        teacher_logits, teacher_aux = self.unpruned.apply(
            {"params": state.frozen}, mixed.images
        )
        loss, scalars = self.class_loss(logits, aux, batch["label"], mixed)
        weights, masks = self.settings.distillation, self.model.keep_masks(aux)
        divergence = logit_divergence(logits, teacher_logits)
        measure = TOKEN_DISTANCES[weights.token_distance]
        distance = measure(aux["tokens"], teacher_aux["tokens"], masks[-1])
        loss += weights.logit_weight * divergence + weights.token_weight * distance
        kept = {f"kept_{step}": mask.mean() for step, mask in enumerate(masks, start=1)}
        distilled = {"logit_divergence": divergence, "token_distance": distance}
        return loss, (model_state, {**scalars, **distilled, **kept})

    def _without_predictors(self, params: optax.Params) -> optax.Params:
        """Return what the unpruned network has of the parameters.

        A teacher may have other predictors, or none: they go by their names.
        """
        patterns = self.parameter_groups().get(contract.PREDICTORS, ())
        paths = flax.traverse_util.flatten_dict(params, sep="/")
        named = [
            path
            for path in paths
            if any(parameter_groups.matches(pattern, path) for pattern in patterns)
        ]
        return parameter_groups.split(params, frozenset(named))[1]


def logit_divergence(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Return the mean over examples of KL(softmax(teacher) || softmax(student)).

    Args:
      student, teacher: logits (b, k).
    """
    target = jax.nn.log_softmax(teacher)
    gap = target - jax.nn.log_softmax(student)
    return jnp.sum(jnp.exp(target) * gap, axis=-1).mean()


def token_distance(
    student: jax.Array, teacher: jax.Array, keep: jax.Array
) -> jax.Array:
    """Return the mean squared difference of the patch tokens kept.

    Args:
      student, teacher: (b, n, c), the patch tokens last.
      keep: (b, p), 1 or 0; it receives no gradient.
    """
    patches = keep.shape[1]
    squares = jnp.mean((student - teacher)[:, -patches:] ** 2, axis=-1)  # (b, p)
    return _mean_over_kept(squares, keep)


def token_divergence(
    student: jax.Array, teacher: jax.Array, keep: jax.Array
) -> jax.Array:
    """Return the mean over patch tokens kept of KL(softmax(teacher) || ...(student)).

    The softmaxes are over channels; arguments as those of `token_distance`.
    """
    patches = keep.shape[1]
    target, found = (
        jax.nn.log_softmax(tokens[:, -patches:]) for tokens in (teacher, student)
    )
    divergences = jnp.sum(jnp.exp(target) * (target - found), axis=-1)  # (b, p)
    return _mean_over_kept(divergences, keep)


TOKEN_DISTANCES = {"squared": token_distance, "kl": token_divergence}


def _mean_over_kept(values: jax.Array, keep: jax.Array) -> jax.Array:
    """Return the mean of the values (b, p) of what is kept, 0 if nothing is."""
    keep = jax.lax.stop_gradient(keep)
    kept = over_parts(keep.sum())
    return jnp.sum(values * keep) / jnp.where(kept > 0, kept, 1)


def _joined(params: optax.Params, others: optax.Params) -> optax.Params:
    """Return all parameters, with the others where there are any."""
    flat = flax.traverse_util.flatten_dict(dict(params))
    flat |= flax.traverse_util.flatten_dict(dict(others))
    return flax.traverse_util.unflatten_dict(flat)
