"""Reducers: after some block, tokens in, fewer tokens out.

A reducer is a module `(TokenSet, train) -> (TokenSet, Reduction)` that a transformer
calls between two blocks. It either removes tokens (gathered: static shapes, time is
saved) or marks them (masked: shapes stay, gradients flow through the marks).

Axes: batch b, patch tokens now m, patches of the image p, dim c.
"""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from tokenjax.models import layers
from tokenjax.ops import straight_through, token_selection


@flax.struct.dataclass
class TokenSet:
    """The tokens between two blocks."""

    tokens: jax.Array  # (b, 1 + m, c), class token first
    source: jax.Array  # (b, m) int32, the patch that a token stands for
    keep: jax.Array | None = None  # (b, m), 1 or 0; None where every token counts

    def visible(self) -> jax.Array | None:
        """`keep` with the class token, which always counts: (b, 1 + m) or None."""
        if self.keep is None:
            return None
        return jnp.pad(self.keep, ((0, 0), (1, 0)), constant_values=1)

    def gather(self, indices: jax.Array) -> "TokenSet":
        """The class token and the patches at `indices` (b, kept) alone."""
        patches = token_selection.gather_tokens(self.tokens[:, 1:], indices)
        return TokenSet(
            jnp.concatenate([self.tokens[:, :1], patches], axis=1),
            token_selection.gather_tokens(self.source, indices),
        )


class Reduction(NamedTuple):
    """What a reducer did."""

    mask: jax.Array  # (b, p), 1 for the patches that are left
    scores: jax.Array  # (b, m), how much each token that came in is wanted
    ratio_loss: jax.Array  # (), squared distance from the share that should be left


class LinearPredictor(nn.Module):
    """Keep/drop logits by one linear score; dropping has logit 0.

    Source: starkplus/CIFAR-ViT, DynamicViT.
    """

    linear: Any

    @nn.compact
    def __call__(self, patches: jax.Array, keep: jax.Array | None) -> jax.Array:
        """(b, m, c) -> (b, m, 2)."""
        del keep
        score = self.linear(1, name="score")(patches)
        return jnp.concatenate([score, jnp.zeros_like(score)], axis=-1)


class LocalGlobalPredictor(nn.Module):
    """Keep/drop logits from each token and the mean of those that are left.

        z = GELU(W LayerNorm(x));  z' = [first half of z; mean over kept of its second]
        logits = MLP(z'), widths c -> c/2 -> c/4 -> 2

    Source: Rao et al. 2021 (arXiv 2106.02034), equations 2 to 5.
    """

    linear: Any
    dtype: Any

    @nn.compact
    def __call__(self, patches: jax.Array, keep: jax.Array | None) -> jax.Array:
        """(b, m, c) -> (b, m, 2)."""
        dim = patches.shape[-1]
        hidden = layers.LayerNorm(dtype=self.dtype, name="norm")(patches)
        hidden = layers.gelu(self.linear(dim, name="fc1")(hidden))
        local, pooled = jnp.split(hidden, [dim // 2], axis=-1)
        if keep is None:
            everywhere = pooled.mean(axis=1, keepdims=True)  # (b, 1, c - c // 2)
        else:
            weights = keep[..., None].astype(pooled.dtype)
            count = jnp.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
            everywhere = (pooled * weights).sum(axis=1, keepdims=True) / count
        everywhere = jnp.broadcast_to(everywhere, pooled.shape)
        hidden = jnp.concatenate([local, everywhere], axis=-1)
        hidden = layers.gelu(self.linear(dim // 2, name="fc2")(hidden))
        hidden = layers.gelu(self.linear(dim // 4, name="fc3")(hidden))
        return self.linear(2, name="fc4")(hidden)


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
        """See the module's docstring."""
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
        """The `count` best, removed from or marked among the others."""
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
