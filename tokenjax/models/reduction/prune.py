"""Pruning: the patch tokens that a predictor wants stay.

Axes: batch b, patch tokens now m, patches of the image p, dim c.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.models.reduction.token_set import Reduction, TokenSet
from tokenjax.ops import straight_through, token_selection


class PruneTokens(nn.Module):
    """Keeps the patch tokens that its predictor wants.

    Attributes:
      predictor: (patches, keep) -> keep/drop logits (b, m, 2).
      count: tokens left at inference.
      share: of the image's patches that should be left in training, for the loss.
      num_patches: p.
      learned: in training decisions are drawn (Gumbel, straight-through, rng "gumbel")
        and marked; else the best `count` stay in training as at inference.
      gathered: at inference the others are removed; else they are marked.
    """

    predictor: nn.Module
    count: int
    share: float
    num_patches: int
    learned: bool
    gathered: bool

    def __call__(
        self, token_set: TokenSet, train: bool = False
    ) -> tuple[TokenSet, Reduction]:
        """Prune; see the class."""
        patches, keep = token_set.tokens[:, 1:], token_set.keep
        logits = self.predictor(patches, keep).astype(jnp.float32)  # (b, m, 2)
        scores = logits[..., 0] - logits[..., 1]
        if train and self.learned:
            uniforms = jax.random.uniform(self.make_rng("gumbel"), logits.shape)
            decision = straight_through.gumbel_one_hot(logits, uniforms)[..., 0]
            decision = decision if keep is None else decision * keep
            left = dataclasses.replace(token_set, keep=decision)
        else:
            left = self._best(token_set, scores)
        mask = self._mask(left)
        loss = jnp.mean((mask.mean(axis=1) - self.share) ** 2)
        return left, Reduction(mask, scores, loss)

    def _best(self, token_set: TokenSet, scores: jax.Array) -> TokenSet:
        """Keep the `count` best: remove the others, or mark them."""
        if token_set.keep is not None:
            scores = jnp.where(token_set.keep > 0, scores, -jnp.inf)
        indices = token_selection.top_indices(scores, self.count)  # (b, count)
        if not self.gathered:
            mask = token_selection.keep_mask(indices, scores.shape[1])
            return dataclasses.replace(token_set, keep=mask)
        return token_set.gather(indices)

    def _mask(self, token_set: TokenSet) -> jax.Array:
        if token_set.keep is not None:  # then no token was ever removed
            return token_set.keep
        return token_selection.keep_mask(token_set.source, self.num_patches)
