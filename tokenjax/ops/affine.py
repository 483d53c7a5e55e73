"""A product and a bias, rounded once: y = x W + b.

In float32 it is what it says. In a half type the sum of both has to be rounded, and the
product alone should not be: that would be a second error of the same size. Products on
CUDA and TPU add a bias to what they accumulate, in float32, before they round, if the
sum is written in the half type; written in float32, a product on CUDA would leave twice
the bytes and a pass over them. XLA's CPU programs round the product first, so there it
is written in float32. (Products of bfloat16 with float32 sums also are the ones that
CPUs have instructions for: on two cores with AMX 6 instead of 45 ms for 8.6 GFLOP.)

The program is chosen by the platform it is compiled for; reverse-mode derivatives are
the plain sum's. The bias's, a sum over all rows, is taken in float32: a half type would
lose what is small beside the sum so far.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp

Saved: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]


def affine(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Compute rows (r, in) times kernel (in, out) plus bias (out,): (r, out).

    The result has the type that rows and kernel share; the bias may be finer.
    """
    if rows.dtype == jnp.float32:
        return rows @ kernel + bias
    return _half(rows, kernel, bias)


def affine_float32(
    rows: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> jax.Array:
    """Compute the same without rounding: float32 sums of what rows and kernel hold."""
    product = jax.lax.dot(rows, kernel, preferred_element_type=jnp.float32)
    return product if bias is None else product + bias


@jax.custom_vjp
def _half(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return jax.lax.platform_dependent(
        rows, kernel, bias, cpu=_rounded_after, default=_in_half
    )


def _in_half(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return rows @ kernel + bias.astype(rows.dtype)


def _rounded_after(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return affine_float32(rows, kernel, bias).astype(rows.dtype)


def _forward(
    rows: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, Saved]:
    return _half(rows, kernel, bias), (rows, kernel, bias)


def _backward(saved: Saved, gradient: jax.Array) -> Saved:
    """Differentiate the plain sum: one rule, or each branch would be differentiated."""
    rows, kernel, bias = saved
    of_bias = gradient.sum(0, dtype=jnp.float32).astype(bias.dtype)
    return gradient @ kernel.T, rows.T @ gradient, of_bias


_half.defvjp(_forward, _backward)
