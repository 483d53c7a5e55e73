"""Of equal values the first has the gradient, as PyTorch measures it, in every use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tokenjax.models.baselines.resnet import max_pool
from tokenjax.models.routing.routing_parts import halve
from tokenjax.ops import maximum, token_selection


def small_numbers(*shape, seed=0):
    """Few different numbers, so that many are equal."""
    return np.random.default_rng(seed).integers(1, 4, shape).astype(np.float32)


def gradients(ours, theirs, values, cotangent):
    """Return both gradients of sum(cotangent * f(values)); values agree."""
    found, pull = jax.vjp(jax.jit(ours), jnp.asarray(values))
    given = torch.from_numpy(values).requires_grad_()
    expected = theirs(given)
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-6)
    expected.backward(torch.from_numpy(cotangent))
    return pull(jnp.asarray(cotangent))[0], given.grad


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (maximum.first_largest, lambda x: x.max(-1)[0]),
        (maximum.first_smallest, lambda x: x.min(-1)[0]),
        (
            token_selection.min_max_normalize,
            lambda x: (
                (x - x.min(-1, keepdim=True)[0])
                / (x.max(-1, keepdim=True)[0] - x.min(-1, keepdim=True)[0] + 1e-8)
            ),
        ),
    ],
)
def test_over_an_axis(ours, theirs):
    values = small_numbers(20, 7)
    shape = jax.eval_shape(ours, values).shape
    cotangent = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    found, expected = gradients(ours, theirs, values, cotangent)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("pool", "window"),
    [(halve, {"kernel_size": 2}), (max_pool, {"kernel_size": 3, "padding": 1})],
)
def test_pooling(pool, window):
    values = small_numbers(3, 9, 7, 4)

    def pool_by_torch(images):
        channels_first = images.permute(0, 3, 1, 2)
        pooled = torch.nn.functional.max_pool2d(channels_first, stride=2, **window)
        return pooled.permute(0, 2, 3, 1)

    shape = jax.eval_shape(pool, values).shape
    cotangent = small_numbers(*shape, seed=1)
    found, expected = gradients(pool, pool_by_torch, values, cotangent)
    np.testing.assert_array_equal(found, expected)


def test_not_a_number_is_passed_on():
    nan = jnp.array([np.nan, 1.0])
    assert np.isnan(maximum.first_maximum(nan, nan[::-1])).all()
    assert np.isnan(maximum.first_largest(nan))
    assert np.isnan(maximum.first_smallest(nan))
