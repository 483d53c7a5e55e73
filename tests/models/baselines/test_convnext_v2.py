"""ConvNeXt V2 against timm's."""

import helpers.peer_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import backbone_checks
from helpers.drawn_variables import drawn_variables

from tokenjax import models
from tokenjax.models.baselines.convnext_v2 import GlobalResponseNorm

SMALL = {
    "img_size": 16,
    "depths": (1, 2),
    "dims": (6, 8),
    "kernel_sizes": 3,
    "num_classes": 3,
}


@pytest.fixture(scope="module")
def recorded(golden):
    return checks.recorded_case("convnextv2_tiny", golden("peers/convnext_v2"))


def small(**more):
    return models.create("convnextv2_tiny", **SMALL | more)


def test_logits_and_gradients(recorded, assert_close):
    checks.logits_and_gradients(*recorded, assert_close)


def test_conversion_is_exact_both_ways(recorded):
    backbone_checks.conversion_is_exact(*recorded[:2])


def test_training():
    model = small(depths=(2,), dims=(6,), drop_rate=0.2, drop_path_rate=0.3)
    checks.trains(model)


def test_global_response_norm():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    layer = GlobalResponseNorm()
    variables = drawn_variables(layer, maps)
    scale, bias = (variables["params"][key] for key in ("scale", "bias"))
    norm = np.sqrt((maps**2).sum((1, 2), keepdims=True))
    expected = maps + scale * maps * norm / norm.mean(-1, keepdims=True) + bias
    np.testing.assert_allclose(layer.apply(variables, maps), expected, rtol=1e-5)


def test_a_dead_channel_has_finite_gradients():
    layer, maps = GlobalResponseNorm(), jnp.ones((1, 2, 2, 3)).at[..., 1].set(0.0)
    variables = drawn_variables(layer, maps)
    gradient = jax.jit(jax.grad(lambda m: jnp.sum(layer.apply(variables, m) ** 3)))
    assert np.isfinite(gradient(maps)).all()
    assert np.isfinite(gradient(0 * maps)).all()


@pytest.mark.long  # a real size, traced
def test_the_published_size():
    model = models.create("convnextv2_tiny")
    assert backbone_checks.number_of_parameters(model) == 28_635_496


def test_images_of_other_sizes():
    model = small()
    variables = drawn_variables(model, *model.example_inputs(1))
    images = jnp.ones((2, 15, 9, 3))
    logits, _ = jax.jit(model.apply)(variables, images)
    cut, _ = jax.jit(model.apply)(variables, images[:, :12, :8])
    assert model.least_size == 8
    np.testing.assert_allclose(logits, cut, atol=1e-6)
    for wrong in (images[..., :1], images[:, :7], images[0]):
        with pytest.raises(ValueError, match=r"\(batch, height, width, 3\).*least 8"):
            model.apply(variables, wrong)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"dims": (8,)}, "depths and dims must be of as many stages"),
        ({"depths": (2, 0)}, r"depths must be at least 1 .*got \(2, 0\)"),
        ({"kernel_sizes": 4}, "kernel_sizes must be odd"),
        ({"drop_rate": -0.1}, r"drop_rate must be within \[0, 1\)"),
        ({"img_size": 7}, "img_size must be at least 8"),
        ({"patch_size": 0}, "patch_size must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)
