"""FLOPs that the routing models report, against the program and the specification."""

import jax
import numpy as np
import pytest

from tokenjax import models
from tokenjax.benchmark.flops import count_flops
from tokenjax.models.routing.routing_parts import Aggregator, Encoder, PatchMLP

SMALL = {
    "img_size": 16,
    "patch_grid": 2,
    "encoder_channels": 6,
    "big_hidden_dim": 16,
    "small_hidden_dim": 8,
    "embed_dim": 8,
    "aggregator_dim": 16,
    "head_hidden_dim": 16,
}


def counted(model):
    """FLOPs of the program that infers on one image."""
    images = model.example_inputs(1)[0]
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return count_flops(lambda v, x: model.apply(v, x)[0], variables, images)


def reported(model, train=False, images=1):
    """aux of freshly drawn parameters on noise."""
    shape = model.example_inputs(images)[0].shape

    @jax.jit
    def run(key):
        inputs = jax.random.normal(key, shape)
        rngs = {"params": key, "dropout": key, "gumbel": key}
        outputs, _ = model.init_with_output(rngs, inputs, train)
        return outputs[1]

    return jax.tree.map(np.asarray, run(jax.random.key(0)))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"attention": "global", "attention_layers": 3, "encoder_layers": 1},
        {"attention_layers": 2, "aggregator": "attention", "big_layers": 0},
        {"encoder": "lean", "aggregator": "mean", "in_channels": 1},
        {"img_size": 24, "patch_grid": 6, "small_layers": 2, "encoder_layers": 2},
    ],
)
def test_masked_execution_costs_what_it_reports(more):
    model = models.create("attention_routing", **SMALL | more, execution="masked")
    assert reported(model)["actual_flops"].tolist() == [counted(model)]
    # What a dispatch would cost if every patch went to both
    assert counted(model.clone(execution="gathered")) == counted(model)


def test_what_a_mask_costs():
    """Between the baselines, by the share that is sent; all of both in training."""
    arguments = SMALL | {"threshold": 0.49}
    model = models.create("attention_routing", **arguments)
    full, cheap = (
        reported(models.create(name, **arguments))["actual_flops"]
        for name in ("full_compute", "cheap_compute")
    )
    for train, executed in (
        (False, model),
        (True, model.clone(mask_gradient="executed")),
    ):
        aux = reported(executed, train, images=2)
        ratio = aux["mask"].mean(axis=1)
        assert 0 < ratio.mean() < 1
        expected = cheap + ratio * (full - cheap)
        np.testing.assert_allclose(aux["actual_flops"], expected, rtol=1e-6)
        expected = cheap + aux["routing_probability"].mean(axis=1) * (full - cheap)
        np.testing.assert_allclose(aux["expected_flops"], expected, rtol=1e-6)
    both = counted(model.clone(execution="masked"))
    assert reported(model, True, 2)["actual_flops"].tolist() == [both] * 2


def test_the_specification_s_table():
    pixels = 8 * 8 * 3
    big, small = PatchMLP(512, 128, 3, 0.1), PatchMLP(64, 128, 1, 0.1)
    parts = {
        "encoder": (Encoder("convolutional", 64, 2).flops(32, 3), 22.4),
        "big": (16 * big.flops(pixels), 22.0),
        "big, one patch": (big.flops(pixels), 1.376),
        "small": (16 * small.flops(pixels), 0.66),
        "aggregator": (Aggregator("concat", 256).flops(16, 128), 1.05),
    }
    for name, (flops, million) in parts.items():
        assert flops / 1e6 == pytest.approx(million, rel=8e-3), name
    assert big.flops(pixels) == 2 * (192 * 512 + 2 * 512 * 512 + 512 * 128)


def test_the_specification_s_routed_model():
    model = models.create("attention_routing", encoder_channels=16, router="top_k")
    (flops,) = reported(model)["actual_flops"] / 1e6
    assert 9.1 <= flops <= 9.2
    full = PatchMLP(512, 128, 3, 0.1).flops(192) * 16 / 1e6 + 1.05
    assert flops / full == pytest.approx(0.39, abs=0.01)
