"""Which token each token is most like, by the cosine.

Of equal cosines the first position wins, and no gradient flows: what is found is a
plan.

Axes: batch b, senders r, receivers k, dim d.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tokenjax.ops import token_selection


class Pairs(NamedTuple):
    """Which senders go, to which receivers, and which senders stay."""

    going: jax.Array  # (b, count) int32, senders, the most similar first
    to: jax.Array  # (b, count) int32, the receiver of each
    staying: jax.Array  # (b, r - count) int32, the other senders, likewise


def unit_vectors(values: jax.Array, floor: float = 1e-12) -> jax.Array:
    """Return values / max(norm, floor) over the last axis, float32, without gradient.

    A vector of zeros stays, so it is alike to nothing. (ToMe divides by the norm alone,
    and one such token makes a whole image's cosines NaN.)
    """
    values = jax.lax.stop_gradient(values).astype(jnp.float32)
    norm = jnp.sqrt(jnp.sum(values * values, axis=-1, keepdims=True))
    return values / jnp.maximum(norm, floor)


def compare(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the cosines of unit vectors (b, r, d) with (b, k, d): (b, r, k)."""
    # "highest": a device's coarser product would decide otherwise between near equals
    return jnp.einsum(
        "brd,bkd->brk", first, second, precision=jax.lax.Precision.HIGHEST
    )


def find_most_similar(
    senders: jax.Array, receivers: jax.Array, num_barred: int = 0
) -> tuple[jax.Array, jax.Array]:
    """Find the receiver that each sender is most like.

    Args:
      senders: (b, r, d) unit vectors.
      receivers: (b, k, d) unit vectors.
      num_barred: so many of the first receivers receive nothing.

    Returns: the cosines (b, r), and which receiver (b, r) int32.
    """
    allowed = receivers[:, num_barred:]
    cosines = compare(senders, allowed)
    to = cosines.argmax(axis=-1).astype(jnp.int32) + num_barred
    return cosines.max(axis=-1), to


def pair_most_similar(senders: jax.Array, receivers: jax.Array, count: int) -> Pairs:
    """Let the `count` senders go that are most like their receiver.

    Args:
      senders: (b, r, d) unit vectors.
      receivers: (b, k, d) unit vectors.
      count: at most r.
    """
    cosines = compare(senders, receivers)  # (b, r, k)
    best = cosines.max(axis=-1)
    order = token_selection.rank_tokens(best, best.shape[1])
    going = order[:, :count]
    # a maximum is much cheaper than where it is, which only these rows are asked
    rows = token_selection.gather_tokens(cosines, going)  # (b, count, k)
    to = rows.argmax(axis=-1).astype(jnp.int32)
    return Pairs(going, to, order[:, count:])
