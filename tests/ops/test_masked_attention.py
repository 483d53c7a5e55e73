"""Masked softmax against a softmax over the kept tokens alone."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import masked_attention


@settings(max_examples=40, deadline=None)
@given(
    keep=st.lists(st.booleans(), min_size=5, max_size=5),
    scale=st.sampled_from([1.0, 30.0, 300.0]),
    seed=st.integers(0, 100),
)
def test_kept_rows_are_a_softmax_over_the_kept(keep, scale, seed):
    logits = scale * jax.random.normal(jax.random.key(seed), (1, 2, 5, 5))
    keep = jnp.array([keep], jnp.float32)
    weights = masked_attention.masked_softmax(logits, keep)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    kept = np.flatnonzero(keep[0])
    among = np.ix_([0], [0, 1], kept, kept)
    alone = jax.nn.softmax(np.asarray(logits)[among], axis=-1)
    np.testing.assert_allclose(np.asarray(weights)[among], alone, rtol=2e-5, atol=1e-7)
    for row in range(5):  # a dropped token sees the kept ones and itself
        visible = set(kept) | {row}
        unseen = [column for column in range(5) if column not in visible]
        assert not np.asarray(weights)[0, :, row, unseen].any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), scale=st.sampled_from([1.0, 100.0]))
def test_gradients_are_finite_and_reach_what_was_dropped(seed, scale):
    logits = scale * jax.random.normal(jax.random.key(seed), (1, 1, 4, 4))
    keep = jnp.array([[1.0, 0.0, 1.0, 0.0]])
    value = jax.random.normal(jax.random.key(seed + 1), (1, 1, 4, 3))

    def output(logits, keep):
        weights = masked_attention.masked_softmax(logits, keep)
        return jnp.sum(jnp.sin(weights @ value))

    to_logits, to_keep = jax.grad(output, (0, 1))(logits, keep)
    assert np.isfinite(to_logits).all()
    assert np.isfinite(to_keep).all()
    if scale == 1.0:
        assert np.abs(to_keep[0, 1]) > 1e-6


def test_the_gradient_of_keep_is_the_true_one():
    logits = jax.random.normal(jax.random.key(0), (1, 1, 4, 4))
    keep = jnp.array([[0.7, 0.2, 1.0, 0.4]])
    cotangent = jax.random.normal(jax.random.key(1), logits.shape)

    def output(keep):
        return jnp.sum(masked_attention.masked_softmax(logits, keep) * cotangent)

    gradient, step = jax.grad(output)(keep), 1e-2
    for index in range(4):
        unit = jnp.zeros((1, 4)).at[0, index].set(step)
        numeric = (output(keep + unit) - output(keep - unit)) / (2 * step)
        np.testing.assert_allclose(gradient[0, index], numeric, rtol=2e-2, atol=1e-3)
