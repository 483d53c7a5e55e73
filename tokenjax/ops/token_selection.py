"""Selection of tokens by score: the best, in their order, gathered or masked.

Ties are ordered by (score, index): of equal scores the earlier token stays.
"""

import jax
import jax.numpy as jnp

from tokenjax.ops import maximum


def top_indices(scores: jax.Array, count: int) -> jax.Array:
    """Return the indices of the `count` best scores, ascending.

    Args:
      scores: (..., tokens).
      count: from 1 to tokens.

    Returns: (..., count) int32.
    """
    if not 1 <= count <= scores.shape[-1]:
        raise ValueError(f"cannot keep {count} of {scores.shape[-1]} tokens")
    _, indices = jax.lax.top_k(scores, count)  # equal scores: lower index first
    return jnp.sort(indices, axis=-1)


def draw_indices(
    key: jax.Array, batch: int, num_tokens: int, left_out: float
) -> jax.Array:
    """Draw which tokens stay where a share is left out: (batch, at least 1), ascending.

    Every image has a draw of its own; all keep as many.
    """
    scores = jax.random.uniform(key, (batch, num_tokens))
    return top_indices(scores, max(1, round(num_tokens * (1 - left_out))))


def gather_tokens(tokens: jax.Array, indices: jax.Array) -> jax.Array:
    """Gather tokens (batch, tokens, ...) at (batch, kept) -> (batch, kept, ...)."""
    extra = tokens.ndim - indices.ndim
    expanded = indices.reshape(indices.shape + (1,) * extra)
    # "clip" spares the check of indices that come from top_k
    return jnp.take_along_axis(tokens, expanded, axis=1, mode="clip")


def keep_mask(indices: jax.Array, num_tokens: int) -> jax.Array:
    """Mark indices (batch, kept) by 1 in (batch, num_tokens) float32."""
    rows = jnp.arange(indices.shape[0])[:, None]
    zeros = jnp.zeros((indices.shape[0], num_tokens), jnp.float32)
    return zeros.at[rows, indices].set(1.0)


def scatter_tokens(values: jax.Array, source: jax.Array, num_tokens: int) -> jax.Array:
    """Scatter (batch, kept, ...) to source in (batch, num_tokens, ...), else 0."""
    rows = jnp.arange(values.shape[0])[:, None]
    shape = (values.shape[0], num_tokens, *values.shape[2:])
    return jnp.zeros(shape, values.dtype).at[rows, source].set(values)


def rank_tokens(scores: jax.Array, count: int) -> jax.Array:
    """Return indices (..., count) of the best scores (..., tokens), best first.

    Ties are ordered by (score, index), as everywhere here; torch.sort leaves them open.
    """
    if not 1 <= count <= scores.shape[-1]:
        raise ValueError(f"cannot keep {count} of {scores.shape[-1]} tokens")
    return jax.lax.top_k(scores, count)[1]


def min_max_normalize(scores: jax.Array, epsilon: float = 1e-8) -> jax.Array:
    """Return (s - min s) / (max s - min s + epsilon) over the last axis.

    The gradient goes through the minimum and the maximum too, each to one entry.
    """
    lowest = maximum.first_smallest(scores)[..., None]
    highest = maximum.first_largest(scores)[..., None]
    return (scores - lowest) / (highest - lowest + epsilon)


def mark_best(scores: jax.Array, count: jax.typing.ArrayLike) -> jax.Array:
    """Mark the `count` best scores: what `rank_tokens` finds, for any count.

    Args:
      scores: (..., tokens).
      count: from 1 to tokens; may be traced, a number or one for each row (...); the
        shapes stay the same.

    Returns: (..., tokens) bool.
    """
    if isinstance(count, int):
        last = rank_tokens(scores, count)[..., -1:]
    else:
        order = rank_tokens(scores, scores.shape[-1])
        which = jnp.broadcast_to(jnp.asarray(count) - 1, scores.shape[:-1])
        last = jnp.take_along_axis(order, which[..., None], axis=-1, mode="clip")
    return mark_down_to(scores, last)


def mark_down_to(scores: jax.Array, last: jax.Array) -> jax.Array:
    """Mark the scores (..., tokens) that rank before the index `last` (..., 1), and it.

    A comparison, where a scatter of indices would give the same.
    """
    threshold = jnp.take_along_axis(scores, last, axis=-1, mode="clip")
    earlier = jnp.arange(scores.shape[-1]) <= last
    return (scores > threshold) | ((scores == threshold) & earlier)


def fuse_dropped(tokens: jax.Array, weights: jax.Array, keep: jax.Array) -> jax.Array:
    """Fuse the dropped tokens into one, the sum of w_j x_j over the dropped.

    Args:
      tokens: (b, n, c).
      weights: (b, n), as they shall be: they are not normalised here.
      keep: (b, n), 1 or True for the kept.

    Returns: (b, 1, c), exactly 0 where none is dropped.
    """
    weights = jnp.where(keep < 0.5, weights, 0).astype(tokens.dtype)
    return jnp.einsum("bn,bnc->bc", weights, tokens)[:, None]


def lead_with_protected(indices: jax.Array, num_protected: int) -> jax.Array:
    """Put the protected tokens before chosen patches.

    Args:
      indices: (b, k) int32, of patches, from 0.
      num_protected: p, tokens before the first patch (class token and the like).

    Returns: (b, p + k) int32, of tokens: 0 ... p - 1, then the patches.
    """
    protected = jnp.arange(num_protected, dtype=jnp.int32)
    protected = jnp.broadcast_to(protected, (indices.shape[0], num_protected))
    return jnp.concatenate([protected, indices + num_protected], axis=1)
