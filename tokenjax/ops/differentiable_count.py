"""A count of tokens that learns, by weights of candidate counts (DiffRate's search).

    pi = softmax(scores)                       over candidates kappa = p, p - g, ... > 0
    K = ceil(sum pi kappa) + protected         value; gradient that of the sum
    q_t = sum of pi over kappa + protected > t     chance that position t stays
    mask_t = 0 for K <= t < tokens now, else 1     value; gradient that of q_t

Positions are those of the tokens in the order in which they go, the protected first.

Axes: candidates k, positions n = protected + p patches of the image.

Source: Chen et al. 2023 (arXiv 2305.17997), equations 4 to 7.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from tokenjax.ops.straight_through import straight_through


def list_candidates(num_patches: int, step: int = 1) -> jax.Array:
    """Return the counts p, p - step, ... above 0: (k,) float32."""
    if step < 1 or num_patches < 1:
        raise ValueError(f"no counts from {num_patches} down in steps of {step}")
    return jnp.arange(num_patches, 0, -step, dtype=jnp.float32)


def expect_count(
    scores: jax.Array, candidates: jax.Array, num_protected: int = 1
) -> jax.Array:
    """Return K, a whole number () float32 with a gradient; see the module.

    Args:
      scores: (k,).
      candidates: (k,).
      num_protected: tokens that stay besides.
    """
    expected = jax.nn.softmax(scores) @ candidates
    return straight_through(jnp.ceil(expected), expected) + num_protected


def find_chances(
    scores: jax.Array,
    candidates: jax.Array,
    num_positions: int,
    num_protected: int = 1,
) -> jax.Array:
    """Return q, the chance of every position to stay: (num_positions,) float32."""
    positions = jnp.arange(num_positions, dtype=candidates.dtype)
    stays = candidates + num_protected > positions[:, None]  # (n, k)
    return stays.astype(scores.dtype) @ jax.nn.softmax(scores)


def mark_kept(
    count: ArrayLike, chances: jax.Array, tokens_now: ArrayLike | None = None
) -> jax.Array:
    """Return the mask, exactly 0 or 1 with a gradient: (n,) float32.

    Args:
      count: K; its own gradient is not used here.
      chances: q (n,), whose gradient the mask has.
      tokens_now: positions from it on count as kept, for another mask has dropped
        them; None: there are none.
    """
    positions = jnp.arange(chances.shape[0])
    kept = positions < count
    if tokens_now is not None:
        kept |= positions >= tokens_now
    return straight_through(kept.astype(chances.dtype), chances)
