"""Attention weights that sharpen: VDPA's modulated softmax, and a real soft top-k.

Axes: queries q, keys k (the last axis, over which everything is normalised); any
leading axes (batch, heads, queries).

    modulated_softmax   M = softmax(L / T),  A = softmax(L * M)
        What VDPA calls "soft top-k" (mu1sd/VDPA, `vdpa.py`). M is about 1/N, so A is
        close to uniform unless logits are large; and it is not monotone in L.
    soft_topk_weights   M = sigma((L - t) / T) with sum_k M = k,  A = softmax(L + log M)
        Tends to softmax over the exact k best as T -> 0 and to plain softmax as k -> N.

Both are the seam for a fused kernel: weights are a function of one row of logits.
Logits and weights are float32 whatever the computation type, because L * M is tiny.
"""

import functools
import math

import jax
import jax.numpy as jnp

_TINY = 1e-20  # keeps 0 / 0 out where a mask is saturated


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def modulated_softmax(logits: jax.Array, temperature: float) -> jax.Array:
    """Compute VDPA's local attention weights: softmax(L * softmax(L / T)).

    The gradient is written out: from the two softmaxes that the forward pass leaves, it
    takes a third of the time that differentiating them takes on CPU. Reverse mode only.

    Args:
      logits: (..., keys), scaled dot products.
      temperature: T of the mask, above 0.

    Returns: (..., keys), rows sum to 1.

    Raises: ValueError if the temperature is not positive.
    """
    return _modulated_forward(logits, temperature)[0]


def _modulated_forward(logits: jax.Array, temperature: float) -> tuple:
    check_temperature(temperature)
    mask = jax.nn.softmax(logits / temperature, axis=-1)
    weights = jax.nn.softmax(logits * mask, axis=-1)
    return weights, (logits, mask, weights)


def _modulated_backward(
    temperature: float, saved: tuple, gradient: jax.Array
) -> tuple[jax.Array]:
    logits, mask, weights = saved
    modulated = _softmax_gradient(weights, gradient)  # with respect to L * M
    through_mask = _softmax_gradient(mask, modulated * logits) / temperature
    return (modulated * mask + through_mask,)


modulated_softmax.defvjp(_modulated_forward, _modulated_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def soft_topk_weights(
    logits: jax.Array, k: int, temperature: float, iterations: int = 12
) -> jax.Array:
    """Apply softmax over the soft set of the k largest logits of each row.

    The gradient reaches the threshold by the implicit function theorem,
    dt/dL_j = s_j / sum_i s_i with s = M (1 - M). (Reverse mode only.)

    Args:
      logits: (..., keys).
      k: how many keys the soft set holds; k >= keys gives plain softmax.
      temperature: T of the set's edge; T -> 0 gives exact top-k (ties share the set).
      iterations: steps of the threshold search.

    Returns: (..., keys), rows sum to 1.

    Raises: ValueError if k < 1 or the temperature is not positive.
    """
    return _soft_topk_forward(logits, k, temperature, iterations)[0]


def _soft_topk_forward(
    logits: jax.Array, k: int, temperature: float, iterations: int
) -> tuple:
    check_temperature(temperature)
    if k < 1:
        raise ValueError(f"soft top-k needs k >= 1, got {k}")
    if k >= logits.shape[-1]:
        weights = jax.nn.softmax(logits, axis=-1)
        return weights, (weights, jnp.ones_like(weights))
    threshold = soft_topk_threshold(logits, k, temperature, iterations)  # (..., 1)
    distance = (logits - threshold) / temperature
    weights = jax.nn.softmax(logits + jax.nn.log_sigmoid(distance), axis=-1)
    return weights, (weights, jax.nn.sigmoid(distance))


def _soft_topk_backward(
    k: int, temperature: float, iterations: int, saved: tuple, gradient: jax.Array
) -> tuple[jax.Array]:
    weights, mask = saved
    inner = _softmax_gradient(weights, gradient)  # with respect to L + log M
    through_mask = inner * (1 - mask) / temperature
    slope = mask * (1 - mask)
    share = slope / jnp.maximum(jnp.sum(slope, axis=-1, keepdims=True), _TINY)
    threshold = jnp.sum(through_mask, axis=-1, keepdims=True)  # minus dt's cotangent
    return (inner + through_mask - threshold * share,)


soft_topk_weights.defvjp(_soft_topk_forward, _soft_topk_backward)


def soft_topk_threshold(
    logits: jax.Array, k: int, temperature: float, iterations: int = 12
) -> jax.Array:
    """Find each row's t with sum_j sigma((L_j - t) / T) = k, not differentiated.

    The root lies in [min L, max L] - T logit(k / N), because at these ends every term
    is at least, or at most, k / N. Newton's step is taken inside the bracket and
    replaced by bisection outside, so small T (a staircase) converges as well as large.

    Args:
      logits: (..., keys).
      k: between 1 and keys - 1.
      temperature: above 0.
      iterations: steps of the search.

    Returns: (..., 1).
    """
    logits = jax.lax.stop_gradient(logits)
    offset = temperature * math.log(k / (logits.shape[-1] - k))
    low = jnp.min(logits, axis=-1, keepdims=True) - offset
    high = jnp.max(logits, axis=-1, keepdims=True) - offset
    start = jnp.mean(logits, axis=-1, keepdims=True) - offset  # right for small logits

    def improve(_: int, state: tuple) -> tuple:
        low, high, threshold = state
        mask = jax.nn.sigmoid((logits - threshold) / temperature)
        excess = jnp.sum(mask, axis=-1, keepdims=True) - k
        slope = jnp.sum(mask * (1 - mask), axis=-1, keepdims=True) / temperature
        low = jnp.where(excess > 0, threshold, low)
        high = jnp.where(excess > 0, high, threshold)
        newton = threshold + excess / jnp.maximum(slope, _TINY)
        inside = (newton >= low) & (newton <= high)
        return low, high, jnp.where(inside, newton, (low + high) / 2)

    return jax.lax.fori_loop(0, iterations, improve, (low, high, start))[-1]


def effective_keys(weights: jax.Array) -> jax.Array:
    """Count the keys that a row attends to: exp of its entropy, from 1 to keys.

    Args:
      weights: (..., keys), rows sum to 1.

    Returns: (...).
    """
    weights = weights.astype(jnp.float32)
    log_weights = jnp.log(jnp.maximum(weights, jnp.finfo(jnp.float32).tiny))
    return jnp.exp(-jnp.sum(weights * log_weights, axis=-1))


def _softmax_gradient(weights: jax.Array, gradient: jax.Array) -> jax.Array:
    """Carry the gradient of softmax's result over to its argument."""
    mean = jnp.sum(weights * gradient, axis=-1, keepdims=True)
    return weights * (gradient - mean)


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is above 0."""
    if not temperature > 0:
        raise ValueError(f"the temperature must be above 0, got {temperature}")
