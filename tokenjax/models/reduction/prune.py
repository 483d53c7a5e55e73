"""Pruning: the patch tokens that a predictor wants stay.

Axes: batch b, patch tokens now m, patches of the image p, dim c.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.models.attention import Wanted
from tokenjax.models.reduction.reducer import EncoderFacts, Place, Site
from tokenjax.models.reduction.token_set import (
    Reduction,
    TokenSet,
    mark_patches,
    select_patches,
)
from tokenjax.ops import straight_through, token_selection
from tokenjax.ops.attention import MaskedSoftmax
from tokenjax.ops.masked_attention import masked_softmax


class PruneTokens(nn.Module):
    """Keeps the patch tokens that its predictor wants.

    Attributes:
      predictor: (patches, keep) -> keep/drop logits (b, m, 2).
      count: tokens left at inference.
      share: of the image's patches that should be left in training, for the loss.
      learned: in training decisions are drawn (Gumbel, straight-through, rng "gumbel")
        and marked; else the best `count` stay in training as at inference.
      gathered: at inference the others are removed; else they are marked.
      ranked: those that are left stand in the order of their scores, the best first,
        where they are gathered; else in the order in which they came.
    """

    predictor: nn.Module
    count: int
    share: float
    learned: bool
    gathered: bool
    ranked: bool = False

    def __call__(
        self, token_set: TokenSet, seen: object, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Prune; see the class."""
        del seen, place
        lead, keep = token_set.protected, None
        if token_set.keep is not None:
            keep = token_set.keep[:, lead:]
        logits = self.predictor(token_set.patches, keep).astype(jnp.float32)
        scores = logits[..., 0] - logits[..., 1]  # (b, m)
        if train and self.learned:
            uniforms = jax.random.uniform(self.make_rng("gumbel"), logits.shape)
            decision = straight_through.gumbel_one_hot(logits, uniforms)[..., 0]
            decision = decision if keep is None else decision * keep
            left, step = mark_patches(token_set, decision)
        elif self.gathered:
            choose = token_selection.top_indices
            if self.ranked:
                choose = token_selection.rank_tokens
            indices = choose(_of_kept(scores, keep), self.count)
            left, step = select_patches(token_set, indices)
        else:
            indices = token_selection.top_indices(_of_kept(scores, keep), self.count)
            mask = token_selection.keep_mask(indices, scores.shape[1])
            left, step = mark_patches(token_set, mask)
        mask = left.present() if left.keep is None else left.keep[:, lead:]
        loss = jnp.mean((mask.mean(axis=1) - self.share) ** 2)
        return left, Reduction(step, scores, {"keep_ratio": loss}, {"mask": mask})


@dataclasses.dataclass(frozen=True)
class Pruning:
    """A method whose every place has a module of its own: `Method`, by block."""

    prunes: Mapping[int, PruneTokens]
    site: Site = "before"

    def wants(self) -> tuple[Wanted, ...]:
        """Return that it looks at no attention."""
        return ()

    def biases_by_size(self) -> bool:
        """Return that every token stands for one patch."""
        return False

    def masked_softmax(self) -> MaskedSoftmax:
        """Return the plain one."""
        return masked_softmax

    def start(self, token_set: TokenSet, train: bool) -> TokenSet:
        """Leave the first tokens as they are."""
        del train
        return token_set

    def places(self, encoder: EncoderFacts) -> Mapping[int, Place]:
        """Return where it acts."""
        return {
            block: Place(block, number, None, encoder)
            for number, block in enumerate(self.prunes)
        }

    def step(self, place: Place) -> PruneTokens:
        """Return what prunes there."""
        return self.prunes[place.block]


def _of_kept(scores: jax.Array, keep: jax.Array | None) -> jax.Array:
    """Return scores by which a token that is gone is never chosen."""
    return scores if keep is None else jnp.where(keep > 0, scores, -jnp.inf)
