"""Attention-guided routing against a PyTorch program written from its specification."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax import convert, models
from tokenjax.models.routing.routing_parts import pool_to_grid

torch = pytest.importorskip("torch")

from references import pytorch_routing  # noqa: E402  after torch is known to be there

SMALL = {
    "img_size": 24,
    "patch_grid": 3,
    "num_classes": 5,
    "encoder_channels": 6,
    "attention_hidden_dim": 7,
    "big_hidden_dim": 16,
    "small_hidden_dim": 9,
    "embed_dim": 8,
    "aggregator_dim": 12,
    "head_hidden_dim": 10,
    "dropout": 0.0,
}
MASKED = {"execution": "masked"}  # the same numbers (test_routing.py), sooner compiled
CASES = {
    "as_specified": {"threshold": 0.28},
    "cells_overlap": {  # features 5x5 under a grid of 4
        **MASKED,
        "img_size": 20,
        "patch_grid": 4,
        "router": "top_k",
        "temperature": 0.7,
        "attention_layers": 2,
        "aggregator": "attention",
    },
    "global": {
        **MASKED,
        "attention": "global",
        "router": "sigmoid_gate",
        "temperature": 0.5,
        "aggregator": "mean",
        "small_layers": 2,
    },
    "global_deep": {
        **MASKED,
        "attention": "global",
        "attention_layers": 3,
        "aggregator": "attention",
        "temperature": 2.0,
        "in_channels": 1,
    },
}


# The first is what the specification says; options of it are for `make test-all`.
each_case = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "as_specified" else [pytest.mark.long])
        for name in CASES
    ],
)


@functools.cache
def start(name):
    """The model, variables that are nowhere at their defaults, images and labels."""
    model = models.create("attention_routing", **{**SMALL, **CASES[name]})
    (example,) = model.example_inputs(8)
    images = jax.random.normal(jax.random.key(1), example.shape)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    generator = np.random.default_rng(0)

    def stir(path, leaf):
        if "router" in str(path):
            return leaf
        spread = generator.uniform(0.5, 1.5, leaf.shape)
        if leaf.ndim > 1 or "scale" in str(path) or "var" in str(path):
            return np.float32(leaf * spread * (2 if "head" in str(path) else 1))
        return np.float32(generator.normal(size=leaf.shape) * 0.1)

    variables = jax.tree_util.tree_map_with_path(stir, variables)
    return model, variables, np.asarray(images), generator.integers(0, 5, 8)


def reference(model, variables):
    program = getattr(pytorch_routing, type(model).__name__)(model)
    state = convert.to_torch(model, variables)
    if "attention.attention_net.0.weight" not in program.state_dict():
        state = {key: state[key] for key in state if not key.startswith("attention.")}
    tensors = {key: torch.from_numpy(array) for key, array in state.items()}
    program.load_state_dict(tensors, strict=True)
    return program


def channels_first(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@each_case
def test_inference(assert_close, name):
    model, variables, images, _ = start(name)
    images = images[:1]  # few patches: few branches of a dispatch to compile
    logits, aux = jax.jit(model.apply)(variables, images)
    with torch.no_grad():
        program = reference(model, variables).eval()
        expected, mask, scores = program(channels_first(images))
    assert 0 < aux["mask"].mean() < 1
    np.testing.assert_array_equal(aux["mask"], mask)
    assert_close(aux["attention_scores"], scores, 1e-5, "scores")
    assert_close(logits, expected, 1e-5, "logits")


@each_case
def test_training(assert_close, name):
    model, variables, images, labels = start(name)

    def loss(params):
        (logits, aux), updated = model.apply(
            {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), (logits, aux["mask"], updated)

    # A bias whose gradient nearly cancels: as users compile it, not as the suite does.
    well = {
        "xla_backend_optimization_level": 3,
        "xla_llvm_disable_expensive_passes": False,
        "xla_cpu_use_fusion_emitters": True,
    }
    step = jax.jit(jax.grad(loss, has_aux=True), compiler_options=well)
    gradients, (logits, mask, updated) = step(variables["params"])
    program = reference(model, variables).train()
    expected, expected_mask, _ = program(channels_first(images))
    torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels)).backward()
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(mask, expected_mask.detach())
    assert_close(logits, expected.detach(), 1e-5, "logits")
    buffers = dict(program.named_buffers())
    state = convert.to_torch(model, {**variables, **updated})
    statistics = [key for key in state if ".running_" in key]
    assert len(statistics) == 2 * model.encoder_layers
    for key in statistics:
        assert_close(state[key], buffers[key], 1e-5, key)
    ours = convert.to_torch(model, gradients)
    theirs = {key: p.grad.numpy() for key, p in program.named_parameters()}
    assert ours.keys() == theirs.keys()
    for key, leaf in theirs.items():
        if re.match(r"backbone\.encoder\.(0|4|8)\.bias", key):
            # The norm takes it away: rounding is left.
            weight = np.linalg.norm(theirs[key.replace("bias", "weight")])
            assert max(np.linalg.norm(leaf), np.linalg.norm(ours[key])) < 1e-4 * weight
            continue
        assert np.abs(leaf).max() > 1e-7, key
        assert_close(ours[key], leaf, 1e-4, key)


@pytest.mark.parametrize(("height", "width", "grid"), [(5, 7, 4), (3, 2, 4), (6, 9, 3)])
def test_pooling_to_a_grid(height, width, grid):
    features = np.random.default_rng(0).normal(size=(2, height, width, 3))
    features = np.float32(features)
    pooled = torch.nn.functional.adaptive_avg_pool2d(channels_first(features), grid)
    expected = pooled.permute(0, 2, 3, 1).reshape(2, grid * grid, 3)
    found = jax.jit(pool_to_grid, static_argnums=1)(jnp.asarray(features), grid)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
