"""A reducer's input and output: tokens, and an account of them.

Axes: batch b, patch tokens now m, patches of the image p, dim c.
"""

from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from tokenjax.ops import token_selection


@flax.struct.dataclass
class TokenSet:
    """The tokens between two blocks."""

    tokens: jax.Array  # (b, 1 + m, c), class token first
    source: jax.Array  # (b, m) int32, the patch that a token stands for
    keep: jax.Array | None = None  # (b, m), 1 or 0; None where every token counts

    def visible(self) -> jax.Array | None:
        """Return `keep` with the class token, always 1: (b, 1 + m) or None."""
        if self.keep is None:
            return None
        return jnp.pad(self.keep, ((0, 0), (1, 0)), constant_values=1)

    def gather(self, indices: jax.Array) -> "TokenSet":
        """Keep the class token and the patches at `indices` (b, kept) alone."""
        patches = token_selection.gather_tokens(self.tokens[:, 1:], indices)
        return TokenSet(
            jnp.concatenate([self.tokens[:, :1], patches], axis=1),
            token_selection.gather_tokens(self.source, indices),
        )


class Reduction(NamedTuple):
    """An account of one reducer's work."""

    mask: jax.Array  # (b, p), 1 for the patches that are left
    scores: jax.Array  # (b, m), how much each token that came in is wanted
    ratio_loss: jax.Array  # (), squared distance from the share that should be left
