"""Products to float32, and what their gradients are computed in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.ops.wide_product import wide_product

AXES = "bqd,bkd->bqk"


def drawn(dtype):
    generator = np.random.default_rng(0)
    return [jnp.asarray(generator.normal(size=(2, n, 8)), dtype) for n in (3, 5)]


def plain(left, right):
    return jnp.einsum(AXES, left, right, preferred_element_type=jnp.float32)


def ours(left, right):
    return wide_product(AXES, left, right)


def slope(product):
    """The gradients of a loss that bends."""
    return jax.grad(lambda *operands: jnp.sin(product(*operands)).sum(), argnums=(0, 1))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_products_are_wide_and_gradients_are_not(dtype):
    operands = drawn(dtype)
    found = ours(*operands)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, plain(*operands))
    text = jax.jit(slope(ours)).lower(*operands).as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 3
    assert not any("xf32>, " in line for line in products)  # of an operand
    text = jax.jit(slope(plain)).lower(*operands).as_text()
    assert "xf32>, " in text
    # Each is off by its own rounding: 2^-8 of each of bfloat16's eight terms at most.
    exact = slope(plain)(*(each.astype(jnp.float32) for each in operands))
    for gradient, operand, expected in zip(
        slope(ours)(*operands), operands, exact, strict=True
    ):
        assert gradient.dtype == operand.dtype
        error = np.abs(np.float32(gradient) - expected).max()
        assert error < 0.01 * np.abs(expected).max()


def test_float32_and_mixed_types_are_einsum_itself():
    operands = drawn(jnp.float32)

    def program(product, operands):
        return jax.jit(slope(product)).lower(*operands).as_text()

    mixed = [operands[0].astype(jnp.bfloat16), operands[1]]
    for pair in (operands, mixed):
        assert program(ours, pair).replace("ours", "plain") == program(plain, pair)
