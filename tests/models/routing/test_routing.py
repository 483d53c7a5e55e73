"""Attention-guided routing: gathered as masked, its gradients, costs and routers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import models
from tokenjax.benchmark.flops import count_flops
from tokenjax.models.routing.attention_routing import AttentionRouting

SMALL = {
    "img_size": 16,
    "patch_grid": 2,
    "encoder_channels": 10,
    "threshold": 0.5035,
    "big_hidden_dim": 16,
    "small_hidden_dim": 8,
    "embed_dim": 8,
    "aggregator_dim": 16,
    "head_hidden_dim": 16,
    "dropout": 0.0,
}
MASKED = {"execution": "masked"}  # where nothing hangs on it: compiles sooner


class ByDefinition(AttentionRouting):
    """Both networks on every patch; the one that a patch was not sent to gives 0."""

    def embed(self, parts, patches, mask, train):
        sent = jax.lax.stop_gradient(mask)[..., None]
        big = sent * parts.big(patches, train)
        small = (1 - sent) * parts.small(patches, train)
        return mask[..., None] * big + (1 - mask[..., None]) * small


@functools.cache
def start(model):
    shape = model.example_inputs(2)[0].shape
    images = jax.random.normal(jax.random.key(1), shape)
    return jax.jit(model.init)(jax.random.key(0), images), images


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(model, variables, images, train, key, more):
    rngs = {"gumbel": key}
    outputs, _ = model.apply(
        variables, images, train, rngs=rngs, mutable=["batch_stats"], **more
    )
    return outputs


def apply(model, train=False, key=3, **more):
    inputs = start(model.clone(**MASKED))
    return run(model, *inputs, train, jax.random.key(key), more)


def small(**more):
    return models.create("attention_routing", **{**SMALL, **more})


@pytest.mark.parametrize("more", [{}, {"router": "top_k"}, {"threshold": 0.9}])
def test_masked_equals_gathered(more):
    logits, aux = apply(small(**more))
    expected, masked = apply(small(**more, **MASKED))
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(aux["mask"], masked["mask"])
    ratio = np.mean(aux["mask"])
    assert ratio == 0 if "threshold" in more else 0 < ratio < 1


@pytest.fixture(scope="module")
def trained():
    """name -> (logits, gradients of the parameters) of one training step."""
    dense = small()
    variables, images = start(dense)
    arguments = {**SMALL, "mask_gradient": "executed"}
    candidates = {
        "dense": dense,
        "executed": small(mask_gradient="executed"),
        "by_definition": ByDefinition(**arguments),
    }

    def step(model, params):
        def loss(params):
            (logits, _), _ = model.apply(
                {**variables, "params": params}, images, True, mutable=["batch_stats"]
            )
            return jnp.sum(jnp.sin(3 * logits)), logits

        return jax.grad(loss, has_aux=True)(params)[::-1]

    run = jax.jit(step, static_argnums=0)
    return {name: run(model, variables["params"]) for name, model in candidates.items()}


def test_both_training_modes_give_the_same_logits(trained):
    np.testing.assert_allclose(trained["executed"][0], trained["dense"][0], rtol=1e-5)


@pytest.mark.parametrize("mode", ["dense", "executed"])
def test_gradients_reach_every_part(trained, mode):
    gradients = trained[mode][1]
    parts = {"encoder", "attention_head", "router", "big", "small"}
    assert parts | {"aggregator", "task_head"} == set(gradients)
    for name in parts:
        for path, leaf in jax.tree.leaves_with_path(gradients[name]):
            if "convolutions" not in str(path):  # the norm takes their biases away
                assert np.abs(leaf).max() > 1e-7, (name, path)


def test_the_executed_gradient_is_its_definition(trained, assert_close):
    """And differs from the dense one where the mask is behind it, there alone."""
    ours, expected = (trained[name][1] for name in ("executed", "by_definition"))
    for path, leaf in jax.tree.leaves_with_path(ours):
        theirs = functools.reduce(lambda tree, key: tree[key.key], path, expected)
        if "convolutions" not in str(path) or "kernel" in str(path):
            assert_close(leaf, theirs, 1e-4, path)
    dense = trained["dense"][1]
    assert_close(
        ours["big"]["layers_0"]["kernel"], dense["big"]["layers_0"]["kernel"], 1e-4
    )
    threshold = [tree["router"]["threshold"] for tree in (ours, dense)]
    assert abs(threshold[0] - threshold[1]) > 0.1 * abs(threshold[1])


def test_gumbel_draws_in_training_and_three_ways_at_inference():
    gumbel = small(router="gumbel", **MASKED)
    (_, first), (_, again), (_, other) = (apply(gumbel, True, key) for key in (0, 0, 1))
    np.testing.assert_array_equal(first["mask"], again["mask"])
    assert np.any(first["mask"] != other["mask"])
    found = {}
    for way in ("hard", "top_p", "expectation"):
        found[way], aux = apply(
            gumbel.clone(gumbel_inference=way, execution="gathered")
        )
        scores, mask = np.asarray(aux["attention_scores"]), np.asarray(aux["mask"])
        np.testing.assert_array_equal(aux["routing_ratio"], mask.mean(1))
        if way == "hard":
            np.testing.assert_array_equal(mask, scores > 0.5)
        elif way == "top_p":  # ceil(0.3 * 4)
            order = np.argsort(-scores, axis=1, kind="stable")
            expected = np.zeros_like(mask)
            np.put_along_axis(expected, order[:, :2], 1, axis=1)
            np.testing.assert_array_equal(mask, expected)
        else:
            np.testing.assert_array_equal(mask, scores)
    assert np.abs(found["hard"] - found["expectation"]).max() > 1e-4


def test_budget_loss_and_what_a_schedule_sets():
    model = small(budget_weight=2.0, target_ratio=0.1, **MASKED)
    for more, target in (({}, 0.1), ({"target_ratio": jnp.float32(0.4)}, 0.4)):
        _, aux = apply(model, **more)
        expected = 2 * (np.mean(aux["mask"]) - target) ** 2
        assert expected > 0.01
        np.testing.assert_allclose(aux["losses"]["budget"], expected, rtol=1e-5)
    _, aux = apply(model, temperature=jnp.float32(0.1))
    distance = np.asarray(aux["attention_scores"]) - SMALL["threshold"]
    soft = 1 / (1 + np.exp(-distance / 0.1))
    np.testing.assert_allclose(aux["routing_probability"], soft, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "mask", "unused"),
    [
        ("full_compute", 1, {"router", "small"}),
        ("cheap_compute", 0, {"router", "big"}),
        ("no_routing", 0, {"router", "big", "attention_head"}),
    ],
)
def test_baselines(name, mask, unused):
    model = models.create(name, **SMALL, budget_weight=1.0)
    (logits, aux), variables = apply(model), start(model.clone(**MASKED))[0]
    assert set(start(small(**MASKED))[0]["params"]) - unused == set(variables["params"])
    assert np.all(np.asarray(aux["mask"]) == mask)
    assert aux["losses"]["budget"] == 0
    if name == "no_routing":
        assert not np.any(aux["attention_scores"])
    counted = count_flops(
        lambda v, x: model.apply(v, x)[0], variables, model.example_inputs(1)[0]
    )
    # 2 per multiply-add: two convolutions, and the head where there is one.
    encoder = 2 * 9 * 10 * (3 * 16**2 + 10 * 8**2)
    head = 0 if name == "no_routing" else 2 * 10 * 4
    np.testing.assert_array_equal(aux["actual_flops"], [counted + encoder + head] * 2)
    np.testing.assert_array_equal(aux["expected_flops"], aux["actual_flops"])
    assert logits.shape == (2, 10)
