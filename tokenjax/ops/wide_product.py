"""A product whose result is float32, and whose gradient stays in the operands' type.

    wide_product("bhqd,bhkd->bhqk", query, key)         as `jnp.einsum`

The result of a product in half precision is summed in float32, and this keeps it so:
logits want it. Its gradient is float32 then, and JAX multiplies that with the operands:
on GPUs both are widened for it and the product takes twice the time, at twice the
memory. Here the gradient is rounded to the operands' type first, as PyTorch's autocast
rounds it. In float32 it is `jnp.einsum` itself, gradients and all.
"""

import functools

import jax
import jax.numpy as jnp

Operands = tuple[jax.Array, jax.Array]


def wide_product(axes: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """Multiply two arrays of one type into float32, by einsum's `axes`."""
    if left.dtype == right.dtype and left.dtype in (jnp.bfloat16, jnp.float16):
        return _half(axes, left, right)
    return _wide(axes, left, right)


def _wide(axes: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(axes, left, right, preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _half(axes: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return _wide(axes, left, right)


def _forward(
    axes: str, left: jax.Array, right: jax.Array
) -> tuple[jax.Array, Operands]:
    return _wide(axes, left, right), (left, right)


def _backward(axes: str, saved: Operands, gradient: jax.Array) -> Operands:
    product = functools.partial(jnp.einsum, axes)
    _, pull_back = jax.vjp(product, *saved)
    return pull_back(gradient.astype(saved[0].dtype))


_half.defvjp(_forward, _backward)
