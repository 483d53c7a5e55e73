"""A product and a bias, rounded once: by float32, by PyTorch's kind of gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.ops.affine import affine

HALVES = ("bfloat16", "float16")


def draw(dtype):
    """Rows (5, 40) and kernel (40, 7) of a type, bias (7,) float32."""
    generator = np.random.default_rng(0)
    rows, kernel, bias = (
        jnp.asarray(generator.standard_normal(shape), jnp.float32)
        for shape in ((5, 40), (40, 7), (7,))
    )
    return rows.astype(dtype), kernel.astype(dtype), bias


def in_float64(rows, kernel, bias):
    product = np.asarray(rows, np.float64) @ np.asarray(kernel, np.float64)
    return product + np.asarray(bias, np.float64)


@pytest.mark.parametrize("dtype", HALVES)
def test_the_sum_is_rounded_once(dtype):
    rows, kernel, bias = draw(dtype)
    found = jax.jit(affine)(rows, kernel, bias)
    assert found.dtype == dtype
    expected = jnp.float32(in_float64(rows, kernel, bias)).astype(dtype)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_what_is_exact_is_not_rounded(dtype):
    rows, kernel, bias = draw(dtype)
    for given in (bias, None):
        found = affine(rows, kernel, given, exact=True)
        assert found.dtype == jnp.float32
        expected = in_float64(rows, kernel, 0 if given is None else given)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_float32_is_the_plain_sum():
    rows, kernel, bias = draw("float32")
    plain = jax.make_jaxpr(lambda x, w, b: x @ w + b)(rows, kernel, bias)
    for exact in (False, True):
        found = jax.make_jaxpr(lambda *given, e=exact: affine(*given, e))
        assert str(found(rows, kernel, bias)) == str(plain)


@pytest.mark.parametrize("exact", [False, True])
def test_gradients_are_products_of_the_half_type(exact):
    operands = draw("bfloat16")
    weights = jnp.linspace(-1, 1, 35).reshape(5, 7).astype(jnp.bfloat16)

    def loss(rows, kernel, bias):
        return (affine(rows, kernel, bias, exact) * weights.astype(jnp.float32)).sum()

    gradient = jax.grad(loss, (0, 1, 2))
    found = gradient(*operands)
    rows, kernel, _ = (np.asarray(x, np.float64) for x in operands)
    slope = np.asarray(weights, np.float64)
    expected = slope @ kernel.T, rows.T @ slope, slope.sum(0)
    for ours, theirs, operand in zip(found, expected, operands, strict=True):
        assert ours.dtype == operand.dtype
        np.testing.assert_allclose(np.float64(ours), theirs, rtol=2**-7, atol=2**-7)
    text = jax.jit(gradient).lower(*operands).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    backward = [line for line in products if "-> tensor<5x7x" not in line]
    assert len(backward) == 2
    assert all(line.count("bf16") == 3 for line in backward)


def test_what_has_no_gradient_costs_no_product():
    rows, kernel, bias = draw("bfloat16")

    def loss(kernel):
        return affine(rows, kernel, bias).astype(jnp.float32).sum()

    text = jax.jit(jax.grad(loss)).lower(kernel).as_text()
    assert text.count("stablehlo.dot_general") == 1  # the kernel's: the sum is linear


def test_forward_derivatives_agree_with_reverse():
    operands = draw("float16")
    changes = jax.tree.map(jnp.ones_like, operands)
    _, along = jax.jvp(lambda *x: affine(*x), operands, changes)
    rows, kernel, _ = (np.float64(x) for x in operands)
    expected = kernel.sum(0) + rows.sum(1)[:, None] + 1
    np.testing.assert_allclose(np.float64(along), expected, rtol=1e-2, atol=3e-2)


def test_on_cuda_the_sum_is_written_in_the_half_type():
    """There the product adds the bias before it rounds; float32 is twice the bytes."""
    traced = jax.jit(affine).trace(*draw("bfloat16"))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    (product,) = [line for line in text.splitlines() if "dot_general" in line]
    assert product.rpartition("->")[2].strip() == "tensor<5x7xbf16>"


def test_a_bias_gradient_loses_nothing_by_adding_up():
    rows, kernel, bias = jnp.ones((4096, 2)), jnp.ones((2, 3)), jnp.zeros(3)
    rows, kernel = rows.astype("bfloat16"), kernel.astype("bfloat16")
    weights = np.random.default_rng(0).uniform(size=(4096, 3)).astype(np.float32)
    weights = jnp.asarray(weights, jnp.bfloat16)

    def loss(bias):
        return (affine(rows, kernel, bias) * weights).astype(jnp.float32).sum()

    expected = np.float32(weights).sum(0)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(bias), expected, rtol=1e-5)
    sums = [
        each.invars[0].aval.dtype
        for each in jax.make_jaxpr(jax.grad(loss))(bias).eqns
        if each.primitive.name == "reduce_sum"
    ]
    assert jnp.dtype(jnp.bfloat16) not in sums
    assert jnp.dtype(jnp.float32) in sums
