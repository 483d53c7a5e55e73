"""Adaptive local pooling: the nine shifts against a plain gather."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import neighborhood

pool = jax.jit(neighborhood.adaptive_local_pooling, static_argnums=(1, 2, 3))


def by_gather(tokens, num_neighbors, temperature, xp=np):
    """The recorded formula, read straight off it; by NumPy, which compiles nothing."""
    grid = round(tokens.shape[1] ** 0.5)
    table = neighborhood.grid_neighbors(grid, num_neighbors)
    neighbors = tokens[:, table]  # (b, n, K, c)
    lengths = xp.maximum(xp.linalg.norm(tokens, axis=-1), 1e-8)
    dots = xp.einsum("bnc,bnkc->bnk", tokens, neighbors)
    cosines = dots / (lengths[:, :, None] * lengths[:, table])
    weights = xp.exp(cosines / temperature)
    weights /= weights.sum(axis=-1, keepdims=True)
    return xp.einsum("bnk,bnkc->bnc", weights, neighbors).mean(axis=1)


@settings(deadline=None, max_examples=20)
@given(
    grid=st.integers(1, 6),
    num_neighbors=st.integers(1, 14),
    temperature=st.sampled_from([0.1, 1.0]),
    seed=st.integers(0, 1000),
)
def test_equals_the_gather(grid, num_neighbors, temperature, seed):
    tokens = np.random.default_rng(seed).normal(size=(2, grid * grid, 5))
    tokens = tokens.astype(np.float32)
    pooled, shares, windows = pool(tokens, num_neighbors, temperature)
    expected = by_gather(tokens, num_neighbors, temperature)
    np.testing.assert_allclose(pooled, expected, atol=2e-6)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(windows.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(
        np.einsum("bn,bnc->bc", shares, tokens), pooled, atol=1e-5
    )


def test_gradient_equals_the_gather():
    tokens = jax.random.normal(jax.random.key(0), (2, 16, 5))
    ours = jax.jit(jax.grad(lambda x: pool(x)[0][0, 0]))(tokens)
    expected = jax.jit(jax.grad(lambda x: by_gather(x, 9, 1.0, jnp)[0, 0]))(tokens)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_renormalise_leaves_out_what_is_outside():
    tokens = jnp.ones((1, 16, 3))
    *_, center = pool(tokens, 9, 1.0, "center")
    *_, left_out = pool(tokens, 9, 1.0, "renormalise")
    corner = np.zeros(9)
    corner[[4, 5, 7, 8]] = 0.25
    np.testing.assert_allclose(left_out[0, 0], corner, atol=1e-6)
    assert center[0, 0, 4] == pytest.approx(6 / 9)  # the cell and five repeats
    interior = 5
    np.testing.assert_allclose(center[0, interior], left_out[0, interior], atol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="not a square grid"):
        neighborhood.adaptive_local_pooling(jnp.ones((1, 12, 3)))
    with pytest.raises(ValueError, match="unknown border"):
        neighborhood.adaptive_local_pooling(jnp.ones((1, 16, 3)), border="wrap")
    with pytest.raises(ValueError, match="at least 1 neighbour"):
        neighborhood.adaptive_local_pooling(jnp.ones((1, 16, 3)), num_neighbors=0)
