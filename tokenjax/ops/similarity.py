"""Which token each token is most like, by the cosine.

Axes: batch b, senders r, receivers k, dim d.
"""

import jax
import jax.numpy as jnp


def unit_vectors(values: jax.Array, floor: float = 1e-12) -> jax.Array:
    """Return values / max(norm, floor) over the last axis, float32."""
    values = values.astype(jnp.float32)
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
    """Find the receiver that each sender is most like; of equal ones the first.

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
