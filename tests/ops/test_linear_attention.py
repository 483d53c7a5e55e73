"""Linear attention against the matrix that it never forms."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import linear_attention

attend = jax.jit(linear_attention.linear_attention)
implied_weights = jax.jit(linear_attention.implied_weights)


def draw(seed, tokens):
    draws = np.random.default_rng(seed)
    return np.float32(draws.normal(size=(3, 2, 2, tokens, 4)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), tokens=st.sampled_from([1, 4, 9]))
def test_equals_its_implied_weights(seed, tokens):
    query, key, value = draw(seed, tokens)
    mixed, normaliser = attend(query, key, value)
    weights = np.asarray(implied_weights(query, key, normaliser))
    assert (weights >= 0).all()
    np.testing.assert_allclose(mixed, weights @ value, rtol=1e-4, atol=1e-5)


def test_a_dead_query_gives_zeros_and_finite_gradients():
    query, key, value = draw(0, 5)
    query[:, :, 2] = -1.0
    assert not attend(query, key, value)[0][:, :, 2].any()
    gradient = jax.grad(lambda *args: jnp.sum(attend(*args)[0]), (0, 1, 2))
    gradients = jax.jit(gradient)(query, key, value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_order_of_tokens_does_not_matter():
    query, key, value = draw(1, 6)
    order = np.array([3, 0, 5, 1, 4, 2])
    mixed, _ = attend(query, key, value)
    turned, _ = attend(query, key[:, :, order], value[:, :, order])
    np.testing.assert_allclose(mixed, turned, rtol=1e-4, atol=1e-5)
