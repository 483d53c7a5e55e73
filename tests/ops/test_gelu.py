"""GELU by both ways: values and slopes against scipy's normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from tokenjax.ops import gelu

VALUES = np.concatenate([np.linspace(-12, 12, 4001), [0.0, -0.0, 1e-6, 60.0, -60.0]])


def expected():
    return VALUES * norm.cdf(VALUES), norm.cdf(VALUES) + VALUES * norm.pdf(VALUES)


@pytest.mark.parametrize(
    ("way", "error"),
    [(gelu.by_erf, 1e-6), (gelu.by_exponential, 4e-7)],  # erf cancels below zero
)
def test_values_are_exact_to_float32(way, error):
    found = jax.jit(way)(jnp.float32(VALUES))
    np.testing.assert_allclose(found, expected()[0], rtol=4e-7, atol=error)


def test_slopes_are_exact_to_float32():
    ones = jnp.ones(VALUES.shape)
    found = jax.jit(gelu.slope_by_exponential)(jnp.float32(VALUES), ones)
    np.testing.assert_allclose(found, expected()[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_types_differ_by_their_rounding_alone(dtype):
    inputs = jnp.asarray(VALUES[np.abs(VALUES) < 12], dtype)
    exact = np.float64(inputs) * norm.cdf(np.float64(inputs))
    # Of the last place of what is rounded, but no finer than float32's errors.
    step = float(jnp.finfo(dtype).eps) * np.maximum(np.abs(exact), 1e-3)
    for way in (gelu.gelu, gelu.by_exponential):
        found = np.float64(jax.jit(way)(inputs))
        assert (np.abs(found - exact) <= 0.51 * step + 1e-6).all()


def test_gradients_of_half_types_by_both_ways():
    inputs = jnp.asarray(np.linspace(-6, 6, 501), jnp.bfloat16)
    gradient = jnp.asarray(np.linspace(-1, 1, 501), jnp.bfloat16)
    _, pull_back = jax.vjp(gelu.gelu, inputs)
    ours = np.float32(pull_back(gradient)[0])
    there = np.float32(gelu.slope_by_exponential(inputs, gradient))
    np.testing.assert_allclose(ours, there, rtol=2**-7, atol=1e-5)


def test_programs_of_accelerators_hold_one_exponential():
    inputs = jnp.ones((4, 8), jnp.bfloat16)

    def gradient(inputs):
        return jax.vjp(gelu.gelu, inputs)[1](inputs)

    for function in (gelu.gelu, gradient):
        traced = jax.jit(function).trace(inputs)
        for platform in ("cuda", "tpu"):
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            assert text.count("stablehlo.exponential ") == 1
            assert "erf" not in text
        assert "erf" in traced.lower(lowering_platforms=("cpu",)).as_text()
