"""Straight-through estimators: hard values, soft gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import straight_through

UNIFORMS = st.floats(0.001, 0.999)
SCORES = st.floats(-3, 3, width=32, allow_subnormal=False)
TEMPERATURES = st.floats(0.25, 4, width=32)


def test_value_and_gradient():
    hard, soft = jnp.array([1.0, 0.0]), jnp.array([0.3, 0.9])
    value, pull = jax.vjp(straight_through.straight_through, hard, soft)
    np.testing.assert_array_equal(value, hard)
    to_hard, to_soft = pull(jnp.array([2.0, 5.0]))
    np.testing.assert_array_equal(to_hard, [0, 0])
    np.testing.assert_array_equal(to_soft, [2, 5])


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=2),
    uniforms=st.lists(UNIFORMS, min_size=2, max_size=2),
    temperature=st.floats(0.1, 5),
)
def test_one_hot_is_exact_and_its_gradient_is_the_softs(logits, uniforms, temperature):
    logits, uniforms = jnp.array(logits), jnp.array(uniforms)
    noise = -jnp.log(-jnp.log(uniforms))
    cotangent = jnp.array([1.0, -3.0])

    def hard(logits):
        return straight_through.gumbel_one_hot(logits, uniforms, temperature)

    value, pull = jax.vjp(hard, logits)
    assert sorted(value.tolist()) == [0.0, 1.0]
    soft = jax.nn.softmax((logits + noise) / temperature)
    analytic = soft * (cotangent - jnp.sum(soft * cotangent)) / temperature
    # 1 + 3 under a temperature of 0.1, each known to 1e-7
    np.testing.assert_allclose(pull(cotangent)[0], analytic, rtol=1e-4, atol=2e-5)


def test_draws_follow_the_probabilities():
    probabilities = np.array([0.2, 0.5, 0.3])
    uniforms = jax.random.uniform(jax.random.key(0), (20_000, 3))
    logits = jnp.broadcast_to(jnp.log(probabilities), uniforms.shape)
    draws = straight_through.gumbel_one_hot(logits, uniforms)
    np.testing.assert_allclose(draws.mean(0), probabilities, atol=0.015)


@pytest.mark.parametrize("uniform", [0.0, 1.0])
def test_extreme_draws_stay_finite(uniform):
    noise = straight_through.gumbel_noise(jnp.array(uniform, jnp.float32))
    assert np.isfinite(noise)


@jax.jit
def threshold_gate(scores, threshold, temperature):
    """Value, and the gradients of the sum."""
    gate = straight_through.threshold_gate
    value, pull = jax.vjp(gate, scores, threshold, temperature)
    return value, pull(jnp.ones_like(value))


@settings(max_examples=50, deadline=None)
@given(st.lists(SCORES, min_size=3, max_size=3), SCORES, TEMPERATURES)
def test_threshold_gate_is_exact_and_has_a_sigmoids_gradient(scores, theta, tau):
    scores = np.array([*scores, theta], np.float32)  # the last one just reaches it
    value, gradients = threshold_gate(scores, np.float32(theta), np.float32(tau))
    np.testing.assert_array_equal(value, scores >= np.float32(theta))
    distance = scores.astype(np.float64) - theta
    soft = 1 / (1 + np.exp(-distance / tau))
    slope = soft * (1 - soft) / tau
    analytic = slope, -slope.sum(), -(slope * distance / tau).sum()
    for ours, expected in zip(gradients, analytic, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@jax.jit
def gumbel_gate(logits, uniforms, temperature):
    def gate(logits):
        return straight_through.gumbel_gate(logits, uniforms, temperature)

    value, pull = jax.vjp(gate, logits)
    return value, pull(jnp.ones_like(value))[0]


@settings(max_examples=50, deadline=None)
@given(SCORES, UNIFORMS, TEMPERATURES, st.booleans())
def test_gumbel_gate_is_exact_and_has_a_sigmoids_gradient(logit, uniform, tau, noisy):
    logit, uniform, tau = np.float32([logit, uniform, tau])
    value, gradient = gumbel_gate(logit, uniform if noisy else None, tau)
    noise = np.log(np.float64(uniform) / (1 - np.float64(uniform))) if noisy else 0.0
    shifted = np.float64(logit) + noise
    if abs(shifted) > 1e-4:  # else rounding decides
        assert value == (shifted > 0)
    assert value in (0, 1)
    soft = 1 / (1 + np.exp(-shifted / tau))
    np.testing.assert_allclose(gradient, soft * (1 - soft) / tau, rtol=1e-3, atol=1e-6)


def test_gates_follow_the_probabilities_at_any_temperature():
    probabilities = np.array([0.05, 0.5, 0.8], np.float32)
    logits = np.log(probabilities) - np.log1p(-probabilities)
    uniforms = jax.random.uniform(jax.random.key(0), (20_000, 3))
    cold, warm = (
        gumbel_gate(jnp.broadcast_to(logits, uniforms.shape), uniforms, tau)[0]
        for tau in (0.5, 2.0)
    )
    np.testing.assert_array_equal(cold, warm)  # of the gradient alone
    np.testing.assert_allclose(cold.mean(0), probabilities, atol=0.015)


def test_logistic_noise_is_a_difference_of_two_gumbel_draws():
    keys = jax.random.split(jax.random.key(1), 3)
    first, second, alone = (jax.random.uniform(key, (20_000,)) for key in keys)
    draws = np.asarray(straight_through.logistic_noise(alone), np.float64)
    gumbel = straight_through.gumbel_noise
    differences = np.asarray(gumbel(first) - gumbel(second), np.float64)
    for sample in (draws, differences):
        assert sample.mean() == pytest.approx(0, abs=0.05)  # four standard errors
        assert sample.var() == pytest.approx(np.pi**2 / 3, abs=0.17)
    quantiles = np.arange(5, 100, 5) / 100
    np.testing.assert_allclose(
        np.quantile(draws, quantiles), np.quantile(differences, quantiles), atol=0.15
    )


@pytest.mark.parametrize("uniform", [0.0, 1.0])
def test_extreme_logistic_draws_stay_finite(uniform):
    noise = straight_through.logistic_noise(jnp.array(uniform, jnp.float32))
    assert np.isfinite(noise)
    assert np.sign(noise) == np.sign(uniform - 0.5)


def test_bad_temperature():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        straight_through.gumbel_one_hot(jnp.zeros(2), jnp.full(2, 0.5), 0.0)
    for temperature in (0, -1.0):
        with pytest.raises(ValueError, match="temperature must be above 0, got"):
            straight_through.threshold_gate(jnp.zeros(2), 0.5, temperature)
        with pytest.raises(ValueError, match="temperature must be above 0, got"):
            straight_through.gumbel_gate(jnp.zeros(2), None, temperature)
