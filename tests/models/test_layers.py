"""BatchNorm and GELU against their formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.models import layers
from tokenjax.models.layers import BatchNorm

VARIABLES = {
    "params": {"scale": jnp.array([0.5, 2.0]), "bias": jnp.array([1.0, -1.0])},
    "batch_stats": {"mean": jnp.array([2.0, 4.0]), "var": jnp.array([3.0, 5.0])},
}
SHAPES = [(4, 3, 5, 2), (7, 2)]


def draw(shape):
    generator = np.random.default_rng(0)
    return generator.normal([3, -100], [2, 5], shape).astype(np.float32)


@functools.partial(jax.jit, static_argnums=(0, 2))
def apply(module, inputs, train):
    return module.apply(VARIABLES, inputs, train, mutable=["batch_stats"])


def normalised(inputs, mean, var):
    scale, bias = map(np.asarray, VARIABLES["params"].values())
    return (inputs - mean) / np.sqrt(np.asarray(var) + 1e-5) * scale + bias


@pytest.mark.parametrize("shape", SHAPES)
def test_training_normalises_by_the_batch(shape):
    inputs = draw(shape)
    outputs, updated = apply(BatchNorm(), inputs, True)
    rows = inputs.reshape(-1, 2).astype(np.float64)
    expected = normalised(inputs, rows.mean(0), rows.var(0))  # biased
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    old, new = VARIABLES["batch_stats"], updated["batch_stats"]
    mean = 0.9 * old["mean"] + 0.1 * rows.mean(0)
    var = 0.9 * old["var"] + 0.1 * rows.var(0, ddof=1)  # unbiased
    np.testing.assert_allclose(new["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(new["var"], var, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_normalises_by_the_running_averages(shape):
    inputs, old = draw(shape), VARIABLES["batch_stats"]
    outputs, updated = apply(BatchNorm(), inputs, False)
    expected = normalised(inputs, old["mean"], old["var"])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], old)


def test_momentum_and_epsilon():
    inputs = draw((6, 2))
    outputs, updated = apply(BatchNorm(epsilon=1.0, momentum=1.0), inputs, True)
    var = inputs.var(0, ddof=1, dtype=np.float64)
    np.testing.assert_allclose(updated["batch_stats"]["var"], var, rtol=1e-5)
    mean, biased = (f(inputs, axis=0, dtype=np.float64) for f in (np.mean, np.var))
    expected = normalised(inputs, mean, biased + 1.0 - 1e-5)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_a_single_row_has_no_variance():
    outputs, updated = apply(BatchNorm(), draw((1, 2)), True)
    np.testing.assert_allclose(outputs[0], VARIABLES["params"]["bias"], atol=1e-2)
    np.testing.assert_allclose(
        updated["batch_stats"]["var"], 0.9 * VARIABLES["batch_stats"]["var"], rtol=1e-6
    )


def test_initialising_counts_no_batch():
    module, inputs = BatchNorm(), draw((6, 2))
    variables = jax.jit(lambda x: module.init(jax.random.key(0), x, True))(inputs)
    assert variables["params"]["scale"].tolist() == [1, 1]
    assert variables["params"]["bias"].tolist() == [0, 0]
    assert variables["batch_stats"]["mean"].tolist() == [0, 0]
    assert variables["batch_stats"]["var"].tolist() == [1, 1]


@pytest.mark.parametrize("train", [True, False])
def test_bfloat16_computes_in_it_by_float32_statistics(train):
    inputs = (draw((4, 3, 5, 2)) + np.float32([0, 100])).astype(jnp.bfloat16)
    outputs, updated = apply(BatchNorm(jnp.bfloat16), inputs, train)
    exact, exact_updated = apply(BatchNorm(), np.float32(inputs), train)
    assert outputs.dtype == jnp.bfloat16
    for ours, theirs in zip(
        *map(jax.tree.leaves, (updated, exact_updated)), strict=True
    ):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    error = np.abs(np.float32(outputs) - exact)
    assert error.max() < 0.02 * np.abs(exact).max()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31 - 1), scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_gelu_is_the_exact_one(seed, scale):
    inputs = scale * jax.random.normal(jax.random.key(seed), (256,))
    expected = jax.nn.gelu(inputs, approximate=False)
    np.testing.assert_allclose(layers.gelu(inputs), expected, rtol=1e-5, atol=1e-6)
    low = layers.gelu(inputs.astype(jnp.bfloat16))
    assert low.dtype == jnp.bfloat16
