"""The pruning task: a network learns to drop tokens from one that keeps them all.

    loss = classification (with the model's ratio loss)
           + logit_weight KL(teacher || student)
           + token_weight mean over kept tokens of ||student - teacher||^2 / dim

The student starts from the teacher's weights; its predictors are new.

Source: Rao et al. 2021 (arXiv 2106.02034), section 3.3, whose weights are the defaults.
"""

import dataclasses
import pathlib
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp

from tokenjax.data import Dataset
from tokenjax.errors import CheckpointError, UserError
from tokenjax.training.checkpoints import load_initial_variables
from tokenjax.training.initialize import check_variables
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch, TrainState
from tokenjax.training.tasks.classification import Classification

PREDICTORS = "predictors_"  # what their parameters' paths begin with


class Pruning(Classification):
    """Classification by a model that prunes, distilled from one that does not."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        settings: Settings,
        teacher: pathlib.Path | None = None,
    ):
        """`teacher`: a workdir or converted checkpoint, read when a run starts.

        Raises: UserError for a model that does not learn to prune.
        """
        super().__init__(model, dataset, settings)
        if getattr(model, "pruning", None) not in ("learned", "none"):
            raise UserError(
                'task "pruning" trains a model with pruning="learned" (dynamic_vit), '
                f"not {settings.model}"
            )
        self.unpruned = model.clone(pruning="none")
        self.teacher = teacher

    def init_frozen(self) -> Any:
        """Zeros where the teacher's parameters go."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))["params"]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return _without_predictors(zeros)

    def start(self, state: TrainState, sharding: Any) -> TrainState:
        """Teacher and, unless `init_from` gave them, student get the teacher's weights.

        Raises: CheckpointError if the teacher is another network.
        """
        if self.teacher is None:
            raise UserError("task pruning needs a teacher to start from")
        which = self.settings.checkpoint.evaluate
        found = load_initial_variables(self.teacher, which)["params"]
        frozen = _without_predictors(found)
        try:
            check_variables(state.frozen, frozen)
        except CheckpointError as error:
            message = f"distillation.teacher {self.teacher}: {error}"
            raise CheckpointError(message) from error
        frozen = jax.device_put(frozen, sharding)
        state = dataclasses.replace(state, frozen=frozen)
        if self.settings.init_from:
            return state
        copied = jax.tree.map(jnp.copy, frozen)  # the step gives its buffers away
        params = {**state.params, **copied}
        ema = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
        return dataclasses.replace(state, params=params, ema_params=ema)

    def loss(
        self,
        params: Any,
        model_state: Any,
        frozen: Any,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
    ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        """See the module's docstring."""
        del step
        image_key, model_key = jax.random.split(key)
        mixed = self.training_images(batch, image_key)
        logits, aux, model_state = self.forward(
            params, model_state, mixed.images, model_key
        )
        teacher_logits, teacher_aux = self.unpruned.apply(
            {"params": frozen}, mixed.images
        )
        loss, scalars = self.class_loss(logits, aux, batch["label"], mixed)
        weights = self.settings.distillation
        divergence = logit_divergence(logits, teacher_logits)
        distance = token_distance(
            aux["tokens"], teacher_aux["tokens"], aux["keep_masks"][-1]
        )
        loss += weights.logit_weight * divergence + weights.token_weight * distance
        kept = {
            f"kept_{step}": mask.mean()
            for step, mask in enumerate(aux["keep_masks"], start=1)
        }
        distilled = {"logit_divergence": divergence, "token_distance": distance}
        return loss, (model_state, {**scalars, **distilled, **kept})


def logit_divergence(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """KL(softmax(teacher) || softmax(student)), (b, k) twice -> mean over examples."""
    target = jax.nn.log_softmax(teacher)
    gap = target - jax.nn.log_softmax(student)
    return jnp.sum(jnp.exp(target) * gap, axis=-1).mean()


def token_distance(
    student: jax.Array, teacher: jax.Array, keep: jax.Array
) -> jax.Array:
    """Mean squared difference of the patch tokens kept.

    Args:
      student, teacher: (b, 1 + p, c), class token first.
      keep: (b, p), 1 or 0; it receives no gradient.
    """
    keep = jax.lax.stop_gradient(keep)
    squares = jnp.mean((student - teacher)[:, 1:] ** 2, axis=-1)  # (b, p)
    return jnp.sum(squares * keep) / jnp.maximum(keep.sum(), 1)


def _without_predictors(params: Any) -> Any:
    flat = flax.traverse_util.flatten_dict(dict(params))
    kept = {path: v for path, v in flat.items() if not path[0].startswith(PREDICTORS)}
    return flax.traverse_util.unflatten_dict(kept)
