"""The shrinking task: classification with fewer and fewer tokens, as EViT is trained.

A reduction that keeps a share of the tokens it finds (`evit`, `topk` with keep_rate
alone) keeps all of them before `shrinking.from_epochs`, then its share falls by half a
cosine for `shrinking.over_epochs` to what the model's arguments say. What is gone is
masked, so that one program serves every share; in evaluation it is gathered.

Source: Liang et al. 2022 (arXiv 2202.07800), youweiliang/evit. There every block that
reduces has the same share; here each falls to its own.
"""

import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp

from tokenjax.data import Dataset
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.state import Batch, Loss, TrainState
from tokenjax.training.tasks.classification import Classification


@TASKS.register("shrinking")
class Shrinking(Classification):
    """Classification by a model whose reduction keeps a share of its tokens."""

    evaluates_as = "classification"
    model: contract.KeepsShares

    def __init__(
        self,
        model: contract.Model,
        dataset: Dataset,
        settings: Settings,
        teacher: pathlib.Path | None = None,
    ):
        """Raises: UserError for a model that keeps no such share."""
        super().__init__(model, dataset, settings, teacher)
        if not isinstance(model, contract.KeepsShares) or not model.kept_shares():
            raise UserError(
                'task "shrinking" trains a model whose reduction keeps a share of the '
                'tokens it finds, such as reduction="evit:keep_rate=0.7", not '
                f"{settings.model['name']} as it is configured"
            )
        shrinking = settings.shrinking
        self.first = settings.in_steps(shrinking.from_epochs, self.num_examples)
        self.steps = settings.in_steps(shrinking.over_epochs, self.num_examples)

    def loss(self, state: TrainState, batch: Batch, key: jax.Array) -> Loss:
        """Return classification's, with what is kept at this step."""
        shares = {
            path: shrink(share, state.step, self.first, self.steps)
            for path, share in self.model.kept_shares().items()
        }
        image_key, model_key = jax.random.split(key)
        mixed = self.training_images(batch, image_key)
        schedule = flax.traverse_util.unflatten_dict(shares, sep="/")
        logits, aux, model_state = self.forward(
            state, mixed.images, model_key, {contract.SCHEDULE: schedule}
        )
        loss, scalars = self.class_loss(logits, aux, batch["label"], mixed)
        kept = jnp.stack(list(shares.values())).mean()
        return loss, (model_state, {**scalars, "kept_share": kept})


def shrink(
    share: float, step: jax.typing.ArrayLike, first: int, steps: int
) -> jax.Array:
    """Return what is kept at a step: 1, less and less, and a share in the end.

    Args:
      share: that is kept when shrinking is over.
      step: of training, from 0.
      first: the first step at which less than all may be kept.
      steps: that shrinking takes; 0: none.
    """
    passed = jnp.asarray(step) - first
    above = (jnp.cos(passed / max(steps, 1) * jnp.pi) + 1) * 0.5
    shrunk = jnp.where(passed >= steps, share, share + (1 - share) * above)
    return jnp.where(passed < 0, 1.0, shrunk)
