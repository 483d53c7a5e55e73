"""The selective scan against a plain loop, and the paths against what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops.selective_scan import cross_merge, cross_scan, selective_scan

# (b, l, d, n), few of them: each costs a compilation. Lengths fill chunks or do not.
SHAPES = [(2, 7, 3, 2), (1, 1, 2, 1), (1, 9, 2, 1)]


def plain(u, delta, A, B, C, D):
    """The definition, one position after another."""
    state = jnp.zeros((4, u.shape[1], *A.shape[1:]))  # (k, b, d, n)
    outputs = []
    for t in range(u.shape[2]):
        step = delta[:, :, t, :, None]
        term = step * B[:, :, t, None] * u[:, :, t, :, None]
        state = jnp.exp(step * A[:, None]) * state + term
        outputs.append((state * C[:, :, t, None]).sum(-1) + D[:, None] * u[:, :, t])
    return jnp.stack(outputs, axis=2)


def draw(seed, shape, step_size, rate_size):
    batch, length, dim, states = shape
    generator = np.random.default_rng(seed)
    sequence, per_state = (4, batch, length, dim), (4, batch, length, states)
    arrays = (
        generator.normal(size=sequence),
        step_size * generator.uniform(size=sequence),
        -rate_size * generator.uniform(size=(4, dim, states)),
        generator.normal(size=per_state),
        generator.normal(size=per_state),
        generator.normal(size=(4, dim)),
        generator.normal(size=sequence),
    )
    *arguments, cotangent = map(np.float32, arrays)
    return arguments, cotangent


@jax.jit
def scanned(arguments, cotangent):
    outputs, pull = jax.vjp(selective_scan, *arguments)
    return outputs, pull(cotangent)


@jax.jit
def looped(arguments, cotangent):
    outputs, pull = jax.vjp(plain, *arguments)
    return outputs, pull(cotangent)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shape=st.sampled_from(SHAPES),
    step_size=st.sampled_from([1e-3, 0.1, 1.0, 30.0]),
    rate_size=st.sampled_from([0.0, 0.1, 1.0, 16.0]),
)
def test_equals_a_loop(seed, shape, step_size, rate_size):
    """Values and gradients, from states that hardly decay to ones that vanish."""
    arguments, cotangent = draw(seed, shape, step_size, rate_size)
    outputs, gradients = scanned(arguments, cotangent)
    expected, expected_gradients = looped(arguments, cotangent)
    pairs = zip((outputs, *gradients), (expected, *expected_gradients), strict=True)
    for found, wanted in pairs:
        assert np.isfinite(found).all()
        scale = np.abs(wanted).max() + 1e-30
        np.testing.assert_allclose(found / scale, wanted / scale, atol=5e-6)


def test_the_recurrence_is_float32():
    arguments, cotangent = draw(0, SHAPES[0], 1.0, 1.0)
    coarse = [jnp.asarray(x, jnp.bfloat16) for x in arguments]
    outputs, gradients = scanned(coarse, cotangent)
    assert outputs.dtype == jnp.float32
    assert {x.dtype for x in gradients} == {jnp.dtype(jnp.bfloat16)}
    exact, _ = scanned([np.float32(x) for x in coarse], cotangent)
    np.testing.assert_allclose(outputs, exact, rtol=1e-6)


def test_the_gradient_stores_one_array_of_states():
    """The most that is kept for it beside the arguments: no level of a tree of sums."""
    arguments, _ = draw(0, (1, 100, 3, 8), 1.0, 1.0)
    pull = jax.eval_shape(lambda *x: jax.vjp(selective_scan, *x)[1], *arguments)
    kept = sum(leaf.size for leaf in jax.tree.leaves(pull))
    assert kept <= sum(x.size for x in arguments) + 4 * 100 * 3 * 8


def test_four_paths():
    rows, columns = [0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5]
    maps = jnp.arange(6.0).reshape(1, 2, 3, 1)
    paths = jax.jit(cross_scan)(maps)
    expected = [rows, columns, rows[::-1], columns[::-1]]
    np.testing.assert_array_equal(paths[:, 0, :, 0], expected)
    each = jnp.stack([maps + 10 * path for path in range(4)])
    expected = np.add(expected, 10 * np.arange(4)[:, None])
    np.testing.assert_array_equal(jax.jit(cross_scan)(each)[:, 0, :, 0], expected)
    np.testing.assert_array_equal(cross_merge(paths, 2, 3), 4 * maps)


@pytest.mark.parametrize("size", [(2, 3), (5, 1)])
def test_merge_is_the_transpose_of_scan(size):
    generator = np.random.default_rng(0)
    maps = np.float32(generator.normal(size=(2, *size, 3)))
    sequences = np.float32(generator.normal(size=(4, 2, size[0] * size[1], 3)))

    @jax.jit
    def both(maps, sequences):
        transposed = jax.vjp(cross_scan, maps)[1](sequences)[0]
        return transposed, cross_merge(sequences, *size)

    np.testing.assert_allclose(*both(maps, sequences), atol=1e-5)
