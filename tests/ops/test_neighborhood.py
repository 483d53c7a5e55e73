"""Adaptive local pooling: the nine shifts against a plain gather."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.ops import neighborhood


def by_gather(tokens, num_neighbors, temperature):
    """The recorded formula, read straight off it."""
    grid = round(tokens.shape[1] ** 0.5)
    table = neighborhood.grid_neighbors(grid, num_neighbors)
    neighbors = tokens[:, table]  # (b, n, K, c)
    lengths = jnp.maximum(jnp.linalg.norm(tokens, axis=-1), 1e-8)
    dots = jnp.einsum("bnc,bnkc->bnk", tokens, neighbors)
    cosines = dots / (lengths[:, :, None] * lengths[:, table])
    weights = jax.nn.softmax(cosines / temperature, axis=-1)
    return jnp.einsum("bnk,bnkc->bnc", weights, neighbors).mean(axis=1)


@settings(deadline=None, max_examples=20)
@given(
    grid=st.integers(1, 6),
    num_neighbors=st.integers(1, 14),
    temperature=st.sampled_from([0.1, 1.0]),
    seed=st.integers(0, 1000),
)
def test_equals_the_gather(grid, num_neighbors, temperature, seed):
    tokens = jax.random.normal(jax.random.key(seed), (2, grid * grid, 5))
    pooled, shares, windows = neighborhood.adaptive_local_pooling(
        tokens, num_neighbors, temperature
    )
    expected = by_gather(tokens, num_neighbors, temperature)
    np.testing.assert_allclose(pooled, expected, atol=2e-6)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(windows.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(
        jnp.einsum("bn,bnc->bc", shares, tokens), pooled, atol=1e-5
    )


def test_gradient_equals_the_gather():
    tokens = jax.random.normal(jax.random.key(0), (2, 16, 5))
    ours = jax.grad(lambda x: neighborhood.adaptive_local_pooling(x)[0][0, 0])(tokens)
    expected = jax.grad(lambda x: by_gather(x, 9, 1.0)[0, 0])(tokens)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_renormalise_leaves_out_what_is_outside():
    tokens = jnp.ones((1, 16, 3))
    *_, center = neighborhood.adaptive_local_pooling(tokens, border="center")
    *_, left_out = neighborhood.adaptive_local_pooling(tokens, border="renormalise")
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
