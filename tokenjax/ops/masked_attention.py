"""Softmax attention in which dropped tokens are invisible to the others.

    A_ij = exp(L_ij) K_ij / sum_k exp(L_ik) K_ik,   K_ij = keep_j, and 1 where i = j

Every token sees itself, so no row is empty; the rows of kept tokens are exactly those
of a softmax over the kept tokens alone. The gradient with respect to `keep` says what
letting a dropped token in would do: this is how the predictors of DynamicViT learn.

Source: Rao et al. 2021 (arXiv 2106.02034), equation 10. Their code adds 1e-6 to both
parts of the fraction, which is `policy_softmax`; without it the masked and the gathered
path agree to rounding.
"""

import jax
import jax.numpy as jnp

from tokenjax.ops import maximum

POLICY_EPSILON = 1e-6
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
    visible = _make_visible(logits, keep)
    kept = jnp.where(visible > 0, logits, -jnp.inf)
    highest = jax.lax.stop_gradient(kept.max(axis=-1, keepdims=True))
    weights = jnp.exp(jnp.minimum(logits - highest, _MOST_ABOVE_KEPT)) * visible
    return weights / weights.sum(axis=-1, keepdims=True)


def policy_softmax(
    logits: jax.Array, keep: jax.Array, epsilon: float = POLICY_EPSILON
) -> jax.Array:
    """Return attention weights under a policy, as DynamicViT's program has them.

        A_ij = (E_ij K_ij + epsilon / n) / (sum_k E_ik K_ik + epsilon)

    with E_ij = exp(L_ij - max_k L_ik), the maximum being over all n tokens. So a
    dropped token may hide the kept ones from a row: where its logit is more than about
    14 above theirs the row comes near to 1 / n. The gradient goes through the maximum
    too.

    Args:
      logits: (batch, heads, queries, tokens) float32, as for `masked_softmax`.
      keep: (batch, tokens), 0 or 1.
      epsilon: above 0.

    Returns: (batch, heads, queries, tokens), rows sum to 1.
    """
    highest = maximum.first_largest(logits)[..., None]
    weights = jnp.exp(logits - highest) * _make_visible(logits, keep)
    total = weights.sum(axis=-1, keepdims=True)
    return (weights + epsilon / logits.shape[-1]) / (total + epsilon)


def _make_visible(logits: jax.Array, keep: jax.Array) -> jax.Array:
    """Return K, (batch, 1, queries, tokens)."""
    queries, tokens = logits.shape[-2:]
    same = jnp.eye(queries, tokens, dtype=keep.dtype)
    return keep[:, None, None, :] * (1 - same) + same
