"""The parts of the routing models alone, and what the models refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import models
from tokenjax.models.routing.routers import ROUTERS
from tokenjax.models.routing.routing_parts import (
    Aggregator,
    cut_patches,
    halve,
    pool_to_grid,
)


def test_patches_are_cut_by_rows():
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    patches = cut_patches(jnp.asarray(images), 3)
    assert patches.shape == (2, 9, 2 * 2 * 3)
    for row in range(3):
        for column in range(3):
            rows, columns = (slice(2 * i, 2 * i + 2) for i in (row, column))
            expected = images[:, rows, columns].reshape(2, -1)
            np.testing.assert_array_equal(patches[:, 3 * row + column], expected)


def test_pooling_by_hand():
    features = jnp.arange(1.0, 6)[None, :, None, None] * jnp.array([1.0, 10.0])
    features = jnp.broadcast_to(features, (1, 5, 4, 2))  # by rows 1 ... 5
    pooled = jax.jit(pool_to_grid, static_argnums=1)(features, 2)
    # Rows 0..2 and 2..4: the middle one belongs to both cells.
    np.testing.assert_allclose(pooled[0, :, 0], [2, 2, 4, 4], rtol=1e-6)
    np.testing.assert_allclose(pooled[..., 1], 10 * pooled[..., 0], rtol=1e-6)
    whole = jax.jit(pool_to_grid, static_argnums=1)(features[:, :4], 2)
    np.testing.assert_allclose(whole[0, :, 0], [1.5, 1.5, 3.5, 3.5], rtol=1e-6)
    # Fewer features than cells: each repeated.
    few = jax.jit(pool_to_grid, static_argnums=1)(features[:, :1, :1], 2)
    np.testing.assert_allclose(few[0, :, 0], [1, 1, 1, 1], rtol=1e-6)


def test_halving_cuts_an_odd_border():
    features = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    expected = features[:, :4, :6].reshape(2, 2, 2, 3, 2, 3).max(axis=(2, 4))
    np.testing.assert_array_equal(halve(jnp.asarray(features)), expected)


def test_the_aggregator_weighs_by_score():
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(2, 4, 3)).astype(np.float32)
    scores = generator.uniform(size=(2, 4)).astype(np.float32)
    module = Aggregator("attention", 3, scale=5.0)
    params = {"linear": {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}}
    pooled = jax.jit(module.apply)({"params": params}, embeddings, scores)
    weights = np.exp(5 * scores) / np.exp(5 * scores).sum(1, keepdims=True)
    expected = np.einsum("bn,bnd->bd", weights, embeddings)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def route(scores, kind="top_k", temperature=1.0, **more):
    router = ROUTERS[kind](temperature=temperature, **more)
    scores = jnp.asarray(scores, jnp.float32)
    inputs = (False, temperature)
    variables = jax.jit(lambda x: router.init(jax.random.key(0), x, *inputs))(scores)
    return jax.jit(lambda v, x: router.apply(v, x, *inputs))(variables, scores)


@pytest.mark.parametrize(
    ("budget", "count"), [(0.0, 0), (0.01, 1), (0.25, 7), (0.28, 7), (0.3, 8), (1, 25)]
)
def test_top_k_rounds_its_budget_up(budget, count):
    scores = np.random.default_rng(0).uniform(size=(3, 25))
    mask = route(scores, budget=budget).mask
    assert mask.sum(1).tolist() == [count] * 3
    if 0 < count < 25:
        best = np.sort(scores, axis=1)[:, -count]
        np.testing.assert_array_equal(mask, scores >= best[:, None])


def test_of_equal_scores_the_earlier_patch_is_sent():
    routed = route([[0.5, 0.7, 0.5, 0.5]], budget=0.5)
    assert routed.mask.tolist() == [[1, 1, 0, 0]]
    assert routed.threshold == 0.5


def test_a_score_at_the_threshold_is_sent_and_a_gate_has_one_too():
    scores = [[0.25, 0.5, 0.75]]
    for kind in ("learnable_threshold", "sigmoid_gate"):
        routed = route(scores, kind=kind, temperature=0.5)
        assert routed.mask.tolist() == [[0, 1, 1]]
        assert routed.threshold == 0.5
        expected = 1 / (1 + np.exp([0.5, 0, -0.5]))
        np.testing.assert_allclose(routed.probability[0], expected, rtol=1e-5)


@pytest.mark.parametrize("gumbel_inference", ["hard", "top_p", "expectation"])
def test_gumbel_bears_scores_of_0_and_1(gumbel_inference):
    mask = route(
        [[0, 1, 0.5, 0.2]], kind="gumbel", gumbel_inference=gumbel_inference
    ).mask
    expected = {
        "hard": [0, 1, 0, 0],
        "top_p": [0, 1, 1, 0],
        "expectation": [0, 1, 0.5, 0.2],
    }
    np.testing.assert_allclose(mask[0], expected[gumbel_inference])


MISTAKES = {
    "patch_grid 5 does not divide img_size 32": {"patch_grid": 5},
    "patch_grid must be at least 1 .*got 0": {"patch_grid": 0},
    "encoder_layers leave nothing of 8 pixels": {"img_size": 8, "encoder_layers": 4},
    "encoder_layers must be at least 1 .*got -1": {"encoder_layers": -1},
    "big_layers must be at least 0 .*got -1": {"big_layers": -1},
    r"target_ratio must be within \[0, 1\], got 1.5": {"target_ratio": 1.5},
    r"target_ratio must be within \[0, 1\], got -0.1": {"target_ratio": -0.1},
    r"budget must be within \[0, 1\], got 2": {"budget": 2},
    r"budget must be finite, got nan": {"budget": float("nan")},
    "router.*'hard'": {"router": "hard"},
    "aggregator must be one of .*got 'max'": {"aggregator": "max"},
    "attention must be one of .*got 'local'": {"attention": "local"},
    "encoder must be one of .*got 'resnet'": {"encoder": "resnet"},
    "mask_gradient must be one of .*got 'sparse'": {"mask_gradient": "sparse"},
    "execution must be one of .*got 'dense'": {"execution": "dense"},
    "gumbel_inference must be one of .*got 'soft'": {"gumbel_inference": "soft"},
    "gumbel_noise must be at least 0.*got -1": {"gumbel_noise": -1.0},
    "gumbel_threshold must be one of .*got 'free'": {"gumbel_threshold": "free"},
    "temperature must be above 0, got 0": {"temperature": 0.0},
    "budget_weight must be at least 0": {"budget_weight": -1.0},
    r"dropout must be within \[0, 1\)": {"dropout": 1.0},
}


@pytest.mark.parametrize("sentence", MISTAKES)
@pytest.mark.parametrize("name", ["attention_routing", "no_routing"])
def test_mistakes(name, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        models.create(name, **MISTAKES[sentence])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=sentence):  # without `create` as well
        type(models.create(name))(**MISTAKES[sentence])


def test_wrong_images():
    model = models.create("attention_routing", img_size=16)
    with pytest.raises(
        ValueError, match=r"images \(batch, 16, 16, 3\).*got \(1, 16, 1"
    ):
        model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    with pytest.raises(ValueError, match="temperature must be above 0"):
        jax.eval_shape(
            lambda x: model.init(jax.random.key(0), x, temperature=0.0),
            jnp.zeros((1, 16, 16, 3)),
        )
