"""Hard decisions with a soft gradient, by `stop_gradient`.

    forward    the hard value
    backward   the gradient of the soft one

`hard + (soft - stop_gradient(soft))` adds an exact zero, so what comes out is exactly
0 or 1; `soft + stop_gradient(hard - soft)` would be off by a rounding error.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def straight_through(hard: jax.Array, soft: jax.Array) -> jax.Array:
    """Return `hard` with the gradient of `soft`; both of one shape."""
    return jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))


def gumbel_noise(uniforms: jax.Array) -> jax.Array:
    """Turn uniform draws in (0, 1) into standard Gumbel ones: -log(-log(u))."""
    tiny = jnp.finfo(uniforms.dtype).tiny
    return -jnp.log(-jnp.log(jnp.clip(uniforms, tiny, 1 - 1e-7)))


def gumbel_one_hot(
    logits: jax.Array, uniforms: jax.Array, temperature: float = 1.0
) -> jax.Array:
    """Sample the categorical distribution of `logits`, as a one-hot vector.

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


def logistic_noise(uniforms: jax.Array) -> jax.Array:
    """Turn uniform draws u into standard logistic ones: log(u) - log(1 - u)."""
    tiny = jnp.finfo(uniforms.dtype).tiny
    uniforms = jnp.clip(uniforms, tiny, 1 - 1e-7)
    return jnp.log(uniforms) - jnp.log1p(-uniforms)


def threshold_gate(
    scores: jax.Array, threshold: ArrayLike, temperature: ArrayLike = 1.0
) -> jax.Array:
    """Return 1 where a score reaches the threshold, else 0; sigmoid's gradient.

        hard = 1[scores >= threshold]
        soft = sigmoid((scores - threshold) / temperature)

    With s = soft, the gradient is s (1 - s) / temperature for the scores, its negative
    for the threshold, and -s (1 - s) (scores - threshold) / temperature^2 for the
    temperature. It dies where |scores - threshold| is many temperatures.

    Args:
      scores: any shape.
      threshold, temperature: broadcast to it; temperature above 0 (checked where it is
        a Python number).

    Source: Bengio et al. 2013 (arXiv 1308.3432).
    """
    if isinstance(temperature, int | float) and temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    soft = jax.nn.sigmoid((scores - threshold) / temperature)
    return straight_through((scores >= threshold).astype(soft.dtype), soft)


def gumbel_gate(
    logits: jax.Array,
    uniforms: jax.Array | None,
    temperature: ArrayLike = 1.0,
    scale: float = 1.0,
) -> jax.Array:
    """Draw Bernoulli(sigmoid(logits / scale)) with the gradient of a soft draw.

        noisy = (logits + scale (log u - log(1 - u))) / temperature
        hard = 1[noisy > 0],  soft = sigmoid(noisy)

    Args:
      logits: any shape.
      uniforms: of the same shape, in (0, 1); None: no noise, the likelier of both.
      temperature: above 0 (checked where it is a Python number).
      scale: of the noise, at least 0.

    Source: Jang et al. 2017 (arXiv 1611.01144) with two choices.
    """
    if isinstance(temperature, int | float) and temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    noise = 0.0 if uniforms is None else scale * logistic_noise(uniforms)
    noisy = (logits + noise) / temperature
    soft = jax.nn.sigmoid(noisy)
    return straight_through((noisy > 0).astype(soft.dtype), soft)
