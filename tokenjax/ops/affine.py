"""A product and a bias, rounded once: y = x W + b.

In float32 it is what it says. In a half type the sum of both has to be rounded, and the
product alone should not be: that would be a second error of the same size. Products on
CUDA and TPU add a bias to what they accumulate, in float32, before they round, if the
sum is written in the half type; written in float32, a product on CUDA would leave twice
the bytes and a pass over them. XLA's CPU programs round the product first, so there it
is written in float32. (Products of bfloat16 with float32 sums also are the ones that
CPUs have instructions for: on two cores with AMX 6 instead of 45 ms for 8.6 GFLOP.)

The program is chosen by the platform it is compiled for; derivatives are the plain
sum's. The bias's gradient, a sum over all rows, is taken in float32: in a half type what
is small beside the sum so far would be lost.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


def affine(
    rows: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    exact: bool = False,
) -> jax.Array:
    """Compute rows (r, in) times kernel (in, out) plus bias (out,): (r, out).

    The result has the type that rows and kernel share; `exact`: it is float32, of the
    same products. The bias may be finer than they are.
    """
    if rows.dtype != jnp.float32 and (exact or bias is not None):
        return _half(rows, kernel, bias, exact)
    product = rows @ kernel
    return product if bias is None else product + bias


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _half(
    rows: jax.Array, kernel: jax.Array, bias: jax.Array | None, exact: bool
) -> jax.Array:
    if exact:
        return _in_float32(rows, kernel, bias)
    return jax.lax.platform_dependent(
        rows, kernel, bias, cpu=_rounded_after, default=_in_half
    )


def _in_float32(
    rows: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> jax.Array:
    product = jax.lax.dot(rows, kernel, preferred_element_type=jnp.float32)
    return product if bias is None else product + bias


def _rounded_after(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return _in_float32(rows, kernel, bias).astype(rows.dtype)


def _in_half(rows: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return rows @ kernel + bias.astype(rows.dtype)


def _half_tangent(exact: bool, primals: tuple, tangents: tuple) -> tuple:
    """Differentiate the plain sum: one rule, or each branch would be differentiated.

    Gradients of rows and kernel are products of the half type, `exact` or not.
    """
    rows, kernel, _ = primals
    of_rows, of_kernel, of_bias = tangents
    result = _half(*primals, exact)
    changes = []
    if not isinstance(of_rows, SymbolicZero):
        changes.append(of_rows @ kernel)
    if not isinstance(of_kernel, SymbolicZero):
        changes.append(rows @ of_kernel)
    changes = [each.astype(result.dtype) for each in changes]
    if of_bias is not None and not isinstance(of_bias, SymbolicZero):
        in_full = jnp.broadcast_to(of_bias.astype(jnp.float32), result.shape)
        changes.append(in_full.astype(result.dtype))
    return result, functools.reduce(jnp.add, changes)


_half.defjvp(_half_tangent, symbolic_zeros=True)
