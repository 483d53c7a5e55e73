"""Attention weightings: limits, invariants, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from tokenjax.ops import soft_topk

modulated = jax.jit(soft_topk.modulated_softmax, static_argnums=1)
topk_weights = jax.jit(soft_topk.soft_topk_weights, static_argnums=(1, 2, 3))
topk_threshold = jax.jit(soft_topk.soft_topk_threshold, static_argnums=(1, 2, 3))
cases = given(
    seed=st.integers(0, 2**31 - 1),
    keys=st.sampled_from([2, 5, 16, 33]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
)


def draw(seed, keys, scale=1.0, rows=3):
    logits = np.random.default_rng(seed).normal(size=(rows, keys))
    return np.float32(scale * logits)


@settings(deadline=None, max_examples=25)
@cases
def test_rows_sum_to_one(seed, keys, scale):
    logits = draw(seed, keys, scale)
    for weights in (
        modulated(logits, 0.5),
        topk_weights(logits, max(keys // 4, 1), 0.1),
    ):
        assert (np.asarray(weights) >= 0).all()
        np.testing.assert_allclose(np.sum(weights, -1), 1, atol=1e-5)


@settings(deadline=None, max_examples=25)
@cases
def test_the_soft_set_holds_k(seed, keys, scale):
    logits, k, temperature = draw(seed, keys, scale), max(keys // 4, 1), 0.2
    threshold = topk_threshold(logits, k, temperature, 20)
    held = scipy.special.expit((logits - threshold) / temperature).sum(-1)
    np.testing.assert_allclose(held, k, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@cases
def test_k_of_all_keys_is_softmax(seed, keys, scale):
    logits = draw(seed, keys, scale)
    weights = topk_weights(logits, keys, 0.5)
    np.testing.assert_allclose(weights, jax.nn.softmax(logits), atol=1e-7)


def test_k_towards_all_keys_tends_to_softmax():
    logits = draw(1, 512)
    distances = [
        float(np.abs(topk_weights(logits, k, 1.0) - expected).max())
        for expected in [jax.nn.softmax(logits)]
        for k in (128, 384, 500, 511)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < distances[0] / 20


@settings(deadline=None, max_examples=25)
@cases
def test_low_temperature_is_exact_topk(seed, keys, scale):
    logits = draw(seed, keys, scale)
    k = max(keys // 4, 1)
    ordered = np.sort(logits, axis=-1)[:, ::-1]
    gap = (ordered[:, k - 1] - ordered[:, k]).min()
    temperature = float(gap) / 50
    if temperature < 1e-5:
        return  # the cut lies between two logits that float32 hardly tells apart
    weights = soft_topk.soft_topk_weights(logits, k, temperature, iterations=40)
    kept = np.where(logits >= ordered[:, k - 1 : k], logits, -np.inf)
    np.testing.assert_allclose(weights, jax.nn.softmax(kept), atol=1e-4)


@pytest.mark.parametrize(
    "weights",
    [
        lambda logits: soft_topk.modulated_softmax(logits, 0.5),
        lambda logits: soft_topk.soft_topk_weights(logits, 4, 0.5, 30),
        lambda logits: soft_topk.soft_topk_weights(logits, 16, 0.5),
    ],
    ids=["modulated", "soft_topk", "all_keys"],
)
def test_written_out_gradients_are_the_numerical_ones(weights):
    with jax.enable_x64(True):
        logits = jax.random.normal(jax.random.key(0), (2, 16), jnp.float64)
        cotangent = jax.random.normal(jax.random.key(1), (2, 16), jnp.float64)
        check_grads(
            lambda x: jnp.sum(weights(x) * cotangent), (logits,), 1, modes=["rev"]
        )


def test_recorded_weighting_is_close_to_uniform():
    """The original's dead end, stated in its numbers: 872 of 1024 keys at std 2."""
    logits = 2 * jax.random.normal(jax.random.key(0), (64, 1024))
    recorded = soft_topk.effective_keys(modulated(logits, 0.5))
    plain = soft_topk.effective_keys(jax.nn.softmax(logits))
    assert 840 < recorded.mean() < 900
    assert 140 < plain.mean() < 190


def test_effective_keys_counts_uniform_rows():
    weights = jnp.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [1.0, 0, 0, 0]])
    np.testing.assert_allclose(soft_topk.effective_keys(weights), [4, 2, 1], rtol=1e-6)


def test_bad_arguments():
    logits = jnp.zeros((2, 8))
    with pytest.raises(ValueError, match="temperature must be above 0"):
        soft_topk.modulated_softmax(logits, 0.0)
    with pytest.raises(ValueError, match="k >= 1"):
        soft_topk.soft_topk_weights(logits, 0, 0.5)
