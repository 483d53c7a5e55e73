"""Softmax attention in which dropped tokens are invisible to the others.

    A_ij = exp(L_ij) K_ij / sum_k exp(L_ik) K_ik,   K_ij = keep_j, and 1 where i = j

Every token sees itself, so no row is empty; the rows of kept tokens are exactly those
of a softmax over the kept tokens alone. The gradient with respect to `keep` says what
letting a dropped token in would do: this is how the predictors of DynamicViT learn.

Source: Rao et al. 2021 (arXiv 2106.02034), equation 10. Their code adds 1e-6 to both
parts of the fraction; without it the masked and the gathered path agree to rounding.
"""

import jax
import jax.numpy as jnp

# Bounds the weight that a dropped token would get, against overflow in the gradient.
_MOST_ABOVE_KEPT = 20.0


def masked_softmax(logits: jax.Array, keep: jax.Array) -> jax.Array:
    """Return attention weights among the kept tokens.

    Args:
      logits: (batch, heads, queries, tokens) float32, the queries being the first of
        the tokens: all, or the class token alone.
      keep: (batch, tokens), 0 or 1.

    Returns: (batch, heads, queries, tokens), rows sum to 1.
    """
    queries, tokens = logits.shape[-2:]
    same = jnp.eye(queries, tokens, dtype=keep.dtype)
    visible = keep[:, None, None, :] * (1 - same) + same  # (batch, 1, queries, tokens)
    kept = jnp.where(visible > 0, logits, -jnp.inf)
    highest = jax.lax.stop_gradient(kept.max(axis=-1, keepdims=True))
    weights = jnp.exp(jnp.minimum(logits - highest, _MOST_ABOVE_KEPT)) * visible
    return weights / weights.sum(axis=-1, keepdims=True)
