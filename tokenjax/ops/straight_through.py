"""Hard decisions with a soft gradient, by `stop_gradient`.

    forward    the hard value
    backward   the gradient of the soft one

`hard + (soft - stop_gradient(soft))` adds an exact zero, so what comes out is exactly
0 or 1; `soft + stop_gradient(hard - soft)` would be off by a rounding error.
"""

import jax
import jax.numpy as jnp


def straight_through(hard: jax.Array, soft: jax.Array) -> jax.Array:
    """`hard` in value, `soft` in gradient; both of one shape."""
    return jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))


def gumbel_noise(uniforms: jax.Array) -> jax.Array:
    """Standard Gumbel draws -log(-log(u)) from uniform ones in (0, 1)."""
    tiny = jnp.finfo(uniforms.dtype).tiny
    return -jnp.log(-jnp.log(jnp.clip(uniforms, tiny, 1 - 1e-7)))


def gumbel_one_hot(
    logits: jax.Array, uniforms: jax.Array, temperature: float = 1.0
) -> jax.Array:
    """A sample of the categorical distribution of `logits`, as a one-hot vector.

        soft = softmax((logits + g) / temperature),  hard = one_hot(argmax soft)

    Args:
      logits: (..., choices).
      uniforms: (..., choices) in (0, 1).
      temperature: above 0; the soft sample's, which the gradient is that of.

    Returns: (..., choices), exactly 0 and 1; ties go to the first choice.

    Source: Jang et al. 2017 (arXiv 1611.01144), straight-through variant.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    noisy = (logits + gumbel_noise(uniforms)) / temperature
    soft = jax.nn.softmax(noisy, axis=-1)
    hard = jax.nn.one_hot(noisy.argmax(axis=-1), logits.shape[-1], dtype=soft.dtype)
    return straight_through(hard, soft)
