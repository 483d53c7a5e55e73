"""A product with a bias: one rounding, and gradients that lose nothing by adding up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.ops.affine import affine, affine_float32

ROWS, WIDTH = 4096, 8


def draw(dtype):
    generator = np.random.default_rng(0)
    rows = jnp.asarray(generator.normal(size=(ROWS, WIDTH)), dtype)
    kernel = jnp.asarray(generator.normal(size=(WIDTH, WIDTH)), dtype)
    return rows, kernel, jnp.asarray(generator.normal(size=WIDTH), jnp.float32)


def test_a_half_type_is_rounded_once():
    rows, kernel, bias = draw(jnp.bfloat16)
    exact = np.float32(rows) @ np.float32(kernel) + bias
    np.testing.assert_allclose(affine_float32(rows, kernel, bias), exact, atol=1e-5)
    ours = jax.jit(affine)(rows, kernel, bias)
    assert ours.dtype == jnp.bfloat16
    error = np.abs(np.float32(ours) - exact) / np.maximum(np.abs(exact), 0.1)
    assert error.max() < 2**-8  # half a unit in the last place of 8 bits, relatively


def test_float32_is_the_plain_sum_bit_for_bit():
    rows, kernel, bias = draw(jnp.float32)
    plain = jax.jit(lambda *arrays: arrays[0] @ arrays[1] + arrays[2])
    np.testing.assert_array_equal(
        jax.jit(affine)(rows, kernel, bias), plain(rows, kernel, bias)
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gradients_are_those_of_float32_rounded(dtype):
    rows, kernel, bias = draw(dtype)
    weights = jnp.asarray(np.random.default_rng(1).uniform(size=(ROWS, WIDTH)), dtype)

    def slopes(function, *arrays):
        def loss(*arrays):
            return jnp.sum(function(*arrays).astype(jnp.float32) * weights)

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arrays)

    ours = slopes(affine, rows, kernel, bias)
    wide = [each.astype(jnp.float32) for each in (rows, kernel, bias)]
    exact = slopes(lambda rows, kernel, bias: rows @ kernel + bias, *wide)
    assert [each.dtype for each in ours] == [dtype, dtype, jnp.float32]
    for index in (0, 1):
        size = np.abs(exact[index]).max()
        np.testing.assert_allclose(
            np.float32(ours[index]), exact[index], atol=2**-7 * size
        )
    # A sum of 4096 numbers about 0.5 in a half type would stop growing, or round each.
    np.testing.assert_allclose(ours[2], exact[2], rtol=1e-5)


def test_no_sum_over_rows_is_taken_in_a_half_type():
    arrays = draw(jnp.bfloat16)

    def loss(*arrays):
        return affine(*arrays).astype(jnp.float32).sum()

    jaxpr = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1, 2)))(*arrays)
    sums = [each for each in jaxpr.eqns if each.primitive.name == "reduce_sum"]
    kinds = {each.invars[0].aval.dtype for each in sums}
    assert kinds == {jnp.dtype(jnp.float32)}
