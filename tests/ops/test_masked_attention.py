"""Masked softmax against a softmax over the kept tokens alone."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import masked_attention

masked_softmax = jax.jit(masked_attention.masked_softmax)


@settings(max_examples=40, deadline=None)
@given(
    keep=st.lists(st.booleans(), min_size=5, max_size=5),
    scale=st.sampled_from([1.0, 30.0, 300.0]),
    seed=st.integers(0, 100),
)
def test_kept_rows_are_a_softmax_over_the_kept(keep, scale, seed):
    logits = scale * np.random.default_rng(seed).normal(size=(1, 2, 5, 5))
    logits, keep = np.float32(logits), np.float32([keep])
    weights = np.asarray(masked_softmax(logits, keep))
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    kept = np.flatnonzero(keep[0])
    among = np.ix_([0], [0, 1], kept, kept)
    alone = np.exp(logits[among] - logits[among].max(-1, keepdims=True, initial=-1e9))
    alone /= alone.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights[among], alone, rtol=2e-5, atol=1e-7)
    for row in range(5):  # a dropped token sees the kept ones and itself
        visible = set(kept) | {row}
        unseen = [column for column in range(5) if column not in visible]
        assert not weights[0, :, row, unseen].any()


@jax.jit
def gradients(logits, keep, value):
    def output(logits, keep):
        weights = masked_attention.masked_softmax(logits, keep)
        return jnp.sum(jnp.sin(weights @ value))

    return jax.grad(output, (0, 1))(logits, keep)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), scale=st.sampled_from([1.0, 100.0]))
def test_gradients_are_finite_and_reach_what_was_dropped(seed, scale):
    draws = np.random.default_rng(seed)
    logits = np.float32(scale * draws.normal(size=(1, 1, 4, 4)))
    keep = np.float32([[1, 0, 1, 0]])
    value = np.float32(draws.normal(size=(1, 1, 4, 3)))
    to_logits, to_keep = gradients(logits, keep, value)
    assert np.isfinite(to_logits).all()
    assert np.isfinite(to_keep).all()
    if scale == 1.0:
        assert np.abs(to_keep[0, 1]) > 1e-6


def test_the_gradient_of_keep_is_the_true_one():
    logits = jax.random.normal(jax.random.key(0), (1, 1, 4, 4))
    keep = jnp.array([[0.7, 0.2, 1.0, 0.4]])
    cotangent = jax.random.normal(jax.random.key(1), logits.shape)

    @jax.jit
    def output(keep):
        return jnp.sum(masked_softmax(logits, keep) * cotangent)

    gradient, step = jax.grad(output)(keep), 1e-2
    for index in range(4):
        unit = jnp.zeros((1, 4)).at[0, index].set(step)
        numeric = (output(keep + unit) - output(keep - unit)) / (2 * step)
        np.testing.assert_allclose(gradient[0, index], numeric, rtol=2e-2, atol=1e-3)


def test_recorded_policy_softmax(golden, assert_close):
    """Of DynamicViT, with the gradient of both of its inputs."""
    case = golden("reduction/dynamicvit_softmax")
    logits, policy = case["input/logits"], case["input/policy"][..., 0]

    def loss(logits, policy):
        weights = masked_attention.policy_softmax(logits, policy)
        return jnp.sum(weights * case["input/cotangent"]), weights

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    (to_logits, to_policy), weights = gradient(logits, policy)
    assert_close(weights, case["output/attention"], 1e-5, "attention")
    assert_close(to_logits, case["grad_input/logits"], 1e-4, "logits")
    assert_close(to_policy[..., None], case["grad_input/policy"], 1e-4, "policy")


def test_a_policy_softmax_of_the_class_token_alone_is_its_first_row():
    draws = np.random.default_rng(3)
    logits = np.float32(draws.normal(size=(2, 2, 5, 5)))
    keep = np.float32([[1, 0, 1, 0, 1], [1, 1, 1, 1, 1]])
    policy_softmax = jax.jit(masked_attention.policy_softmax)
    whole, row = policy_softmax(logits, keep), policy_softmax(logits[:, :, :1], keep)
    np.testing.assert_array_equal(row, whole[:, :, :1])
    alone = np.exp(logits[1])
    alone /= alone.sum(-1, keepdims=True)
    # Where all are there it is the plain one, but for epsilon.
    np.testing.assert_allclose(whole[1], alone, rtol=0, atol=1e-6)
