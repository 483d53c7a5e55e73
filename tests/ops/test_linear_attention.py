"""Linear attention against the matrix that it never forms."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import linear_attention


def draw(seed, tokens):
    keys = jax.random.split(jax.random.key(seed), 3)
    return [jax.random.normal(key, (2, 2, tokens, 4)) for key in keys]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), tokens=st.sampled_from([1, 4, 9]))
def test_equals_its_implied_weights(seed, tokens):
    query, key, value = draw(seed, tokens)
    mixed, normaliser = linear_attention.linear_attention(query, key, value)
    weights = linear_attention.implied_weights(query, key, normaliser)
    assert (np.asarray(weights) >= 0).all()
    np.testing.assert_allclose(mixed, weights @ value, rtol=1e-4, atol=1e-5)


def test_a_dead_query_gives_zeros_and_finite_gradients():
    query, key, value = draw(0, 5)
    query = query.at[:, :, 2].set(-1.0)

    def output(query, key, value):
        return linear_attention.linear_attention(query, key, value)[0]

    assert not output(query, key, value)[:, :, 2].any()
    gradients = jax.grad(lambda *args: jnp.sum(output(*args)), (0, 1, 2))(
        query, key, value
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_order_of_tokens_does_not_matter():
    query, key, value = draw(1, 6)
    order = np.array([3, 0, 5, 1, 4, 2])
    mixed, _ = linear_attention.linear_attention(query, key, value)
    turned, _ = linear_attention.linear_attention(
        query, key[:, :, order], value[:, :, order]
    )
    np.testing.assert_allclose(mixed, turned, rtol=1e-4, atol=1e-5)
