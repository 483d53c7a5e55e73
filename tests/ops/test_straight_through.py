"""Straight-through estimators: hard values, soft gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import straight_through

UNIFORMS = st.floats(0.001, 0.999)


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
    np.testing.assert_allclose(pull(cotangent)[0], analytic, rtol=1e-4, atol=1e-6)


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


def test_bad_temperature():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        straight_through.gumbel_one_hot(jnp.zeros(2), jnp.full(2, 0.5), 0.0)
