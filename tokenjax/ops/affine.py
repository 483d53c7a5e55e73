"""A product and a bias, rounded once: y = x W + b.

In float32 it is what it says. In a half type the sum of both has to be rounded, and the
product alone should not be: that would be a second error of the same size. Products on
CUDA and TPU add a bias to what they accumulate, in float32, before they round, if the
sum is written in the half type; written in float32, a product on CUDA would leave twice
the bytes and a pass over them. XLA's CPU programs round the product first, so there it
is written in float32. (Products of bfloat16 with float32 sums also are the ones that
CPUs have instructions for: on two cores with AMX 6 instead of 45 ms for 8.6 GFLOP.)

The program is chosen by the platform it is compiled for; derivatives are the plain
sum's.
"""

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


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


@jax.custom_jvp
def _half(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return jax.lax.platform_dependent(
        rows, kernel, bias, cpu=_rounded_after, default=_in_half
    )


def _in_half(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return rows @ kernel + bias.astype(rows.dtype)


def _rounded_after(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return affine_float32(rows, kernel, bias).astype(rows.dtype)


def _half_tangent(
    primals: tuple[jax.Array, ...], tangents: tuple[jax.Array | SymbolicZero, ...]
) -> tuple[jax.Array, jax.Array]:
    """Differentiate the plain sum: one rule, or each branch would be differentiated."""
    rows, kernel, _ = primals
    of_rows, of_kernel, of_bias = tangents
    result = _half(*primals)
    change = jnp.zeros_like(result)
    if not isinstance(of_rows, SymbolicZero):
        change = of_rows @ kernel
    if not isinstance(of_kernel, SymbolicZero):
        change = change + rows @ of_kernel
    if not isinstance(of_bias, SymbolicZero):
        change = change + of_bias.astype(rows.dtype)
    return result, change


_half.defjvp(_half_tangent, symbolic_zeros=True)
