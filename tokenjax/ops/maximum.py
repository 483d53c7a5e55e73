"""Maxima whose gradient is one entry's: of equal values the first one's.

This is how PyTorch differentiates `max(dim)`, `min(dim)` and its max pooling. JAX's own
`max` and `maximum` give each of equal entries a part.
"""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def first_maximum(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the larger of both in each place, the gradient to `first` if they equal.

    Both are of one shape. NaN wins, as in `jnp.maximum`.
    """
    return jnp.maximum(first, second)


@first_maximum.defjvp
def _first_maximum_jvp(
    operands: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (first, second), (of_first, of_second) = operands, tangents
    found = first_maximum(first, second)
    return found, jnp.where(second > first, of_second, of_first)


def first_largest(values: jax.Array) -> jax.Array:
    """Return the maximum over the last axis (..., n) -> (...)."""
    return _take(values, values.argmax(-1))


def first_smallest(values: jax.Array) -> jax.Array:
    """Return the minimum over the last axis (..., n) -> (...)."""
    return _take(values, values.argmin(-1))


def _take(values: jax.Array, indices: jax.Array) -> jax.Array:
    # "clip" spares the check of indices that come from argmax
    found = jnp.take_along_axis(values, indices[..., None], axis=-1, mode="clip")
    return found[..., 0]
