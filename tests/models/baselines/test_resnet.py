"""ResNet-50 and its like against timm's."""

import functools

import helpers.backbone_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import peer_checks
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.models.baselines import resnet

SMALL = {"layers": (1, 2), "channels": (4, 6), "num_classes": 3, "img_size": 16}


@pytest.fixture(scope="module")
def recorded(golden):
    return peer_checks.recorded_case("resnet50", golden("peers/resnet"))


@pytest.fixture(scope="module")
def small():
    """(model, variables) with every rate above 0."""
    model = models.create("resnet50", **SMALL, drop_rate=0.2, drop_path_rate=0.3)
    return model, drawn_variables(model, *model.example_inputs(1))


def test_logits_and_gradients(recorded, assert_close):
    case, model, variables, images = recorded

    def loss(params):
        logits, aux = model.apply({**variables, "params": params}, images)
        return jnp.sum(logits * case["input/weights"]), (logits, aux)

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    found, (logits, aux) = gradient(variables["params"])
    assert_close(logits, case["output/logits"], checks.OUTPUT_TOLERANCE, "logits")
    assert aux["losses"] == {}
    assert aux["features"].shape == (2, 80)
    by_key, expected = convert.to_torch(model, found), case.group("grad")
    assert set(by_key) == set(expected)
    for key, wanted in expected.items():
        assert_close(by_key[key], wanted, checks.GRADIENT_TOLERANCE, key)


def test_conversion_is_exact_both_ways(recorded):
    checks.conversion_is_exact(*recorded[:2])


@pytest.mark.parametrize("stride", [1, 2])
def test_the_product_is_the_convolution(stride):
    layer = resnet.Convolution(5, 1, stride)
    images = jax.random.normal(jax.random.key(0), (2, 7, 10, 3))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 3, 5))
    product = layer._product(images, kernel)
    assert product.shape == (2, -(-7 // stride), 10 // stride, 5)
    expected = layer._convolution(images, kernel)
    np.testing.assert_allclose(product, expected, atol=1e-5)


@pytest.mark.parametrize("sides", [(6, 7), (1, 2)])
def test_max_pool(sides):
    images = np.random.default_rng(0).uniform(size=(2, *sides, 3)).astype(np.float32)
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = np.pad(images, border, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    expected = windows[:, ::2, ::2].max((-2, -1))
    np.testing.assert_array_equal(resnet.max_pool(jnp.asarray(images)), expected)


def test_training_moves_the_averages_and_gives_finite_gradients(small):
    model, variables = small
    images = jax.random.normal(jax.random.key(1), (3, 20, 17, 3))

    def loss(params, key):
        (logits, _), moved = model.apply(
            {**variables, "params": params},
            images,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return jnp.sum(jnp.sin(logits)), moved["batch_stats"]

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    found, moved = gradient(variables["params"], jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, moved)))
    before = jax.tree.leaves(variables["batch_stats"])
    assert all(
        np.abs(new - old).max() > 0
        for new, old in zip(jax.tree.leaves(moved), before, strict=True)
    )
    again, _ = gradient(variables["params"], jax.random.key(1))
    assert np.abs(again["conv1"]["kernel"] - found["conv1"]["kernel"]).max() > 0


@pytest.mark.long  # a real size, traced
@pytest.mark.parametrize(
    ("layers", "expected"),
    [((3, 4, 6, 3), 25_557_032), ((3, 4, 23, 3), 44_549_160)],  # ResNet-50 and -101
)
def test_published_sizes(layers, expected):
    model = models.create("resnet50", layers=layers)
    inputs = jax.ShapeDtypeStruct((1, 512, 384, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == expected
    logits, aux = jax.eval_shape(model.apply, shapes, inputs)
    assert (logits.shape, aux["features"].shape) == ((1, 1000), (1, 2048))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"layers": (1, 1, 1)}, "layers and channels must be of one length"),
        ({"layers": (0, 1)}, "layers must be at least 1"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate must be within \[0, 1\)"),
        ({"drop_rate": -0.1}, r"drop_rate must be within \[0, 1\)"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.create("resnet50", **SMALL | arguments)


def test_lists_will_do():
    lists = {"layers": [1, 2], "channels": [4, 6]}
    model = models.create("resnet50", **SMALL | lists)
    assert model == models.create("resnet50", **SMALL)
    assert hash(model) == hash(models.create("resnet50", **SMALL))


def test_images_that_do_not_fit(small):
    apply = functools.partial(small[0].apply, small[1])
    with pytest.raises(
        ValueError, match=r"\(batch, height, width, 3\).*\(1, 3, 8, 8\)"
    ):
        apply(jnp.zeros((1, 3, 8, 8)))
