"""Dropout by 16 random bits: its rate, its mean, its shapes, its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.models import layers
from tokenjax.ops.dropout import LEVELS, draw, dropout


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**31 - 1),
    rate=st.sampled_from([0.01, 0.1, 0.5, 0.9]),
    last=st.sampled_from([1, 64, 65]),
)
def test_kept_elements_are_scaled_and_the_rate_is_met(seed, rate, last):
    inputs = jnp.full((40_000 // last, last), 2.0)
    outputs = np.asarray(dropout(inputs, rate, jax.random.key(seed)))
    probability = round(LEVELS * (1 - rate)) / LEVELS
    assert abs(probability - (1 - rate)) < 1e-5
    assert set(np.unique(outputs)) <= {0.0, np.float32(2 / probability)}
    share = (outputs > 0).mean()
    deviation = (probability * (1 - probability) / outputs.size) ** 0.5
    assert abs(share - probability) < 6 * deviation


def test_every_level_is_drawn_alike():
    counts = np.bincount(
        np.asarray(draw(jax.random.key(0), (1024, 1025))).ravel() >> 8, minlength=256
    )  # (256,) of the upper bytes
    expected = counts.sum() / 256
    assert np.abs(counts - expected).max() < 6 * expected**0.5


def test_neighbours_in_a_word_are_independent():
    kept = np.asarray(draw(jax.random.key(1), (500, 400))) < LEVELS // 2
    both = (kept[:, ::2] & kept[:, 1::2]).mean()
    assert abs(both - 0.25) < 6 * (0.25 * 0.75 / (kept.size / 2)) ** 0.5


def test_shared_axes_are_dropped_together():
    inputs = jnp.ones((200, 3, 5))
    outputs = np.asarray(dropout(inputs, 0.5, jax.random.key(2), (1, 2)))
    by_sample = outputs.reshape(200, -1)
    assert (by_sample == by_sample[:, :1]).all()
    assert 60 < (by_sample[:, 0] > 0).sum() < 140


@pytest.mark.parametrize(("rate", "factor"), [(0.0, 1.0), (1.0, 0.0)])
def test_no_rate_and_the_whole(rate, factor):
    inputs = jnp.arange(6.0).reshape(2, 3)
    outputs = dropout(inputs, rate, jax.random.key(0))
    np.testing.assert_array_equal(outputs, factor * inputs)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_rates_that_are_none(rate):
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(jnp.ones(3), rate, jax.random.key(0))


def test_the_gradient_goes_where_the_values_went():
    inputs = jax.random.normal(jax.random.key(3), (8, 7))
    outputs, pull = jax.vjp(lambda x: dropout(x, 0.3, jax.random.key(4)), inputs)
    (gradient,) = pull(jnp.ones_like(outputs))
    np.testing.assert_allclose(gradient * inputs, outputs, rtol=1e-6)


def test_the_type_stays():
    inputs = jnp.ones((4, 4), jnp.bfloat16)
    assert dropout(inputs, 0.5, jax.random.key(0)).dtype == jnp.bfloat16


def test_the_layer_draws_from_its_stream():
    layer = layers.Dropout(0.5)
    inputs = jnp.ones((16, 16))

    def apply(seed):
        return np.asarray(
            layer.apply({}, inputs, False, rngs={"dropout": jax.random.key(seed)})
        )

    np.testing.assert_array_equal(apply(0), apply(0))
    assert (apply(0) != apply(1)).any()
    np.testing.assert_array_equal(layer.apply({}, inputs, True), inputs)
