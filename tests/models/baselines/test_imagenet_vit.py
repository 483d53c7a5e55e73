"""The vision transformer of ImageNet against timm's."""

import functools

import helpers.backbone_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import peer_checks
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.arguments import describe
from tokenjax.convert.pretrained import load_pretrained
from tokenjax.models.baselines.vit_arguments import ViTArguments
from tokenjax.models.demo.camera_vit import CameraViT

SMALL = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def recorded(golden):
    return peer_checks.recorded_case("vit_base_patch16", golden("peers/imagenet_vit"))


def small(**more):
    return models.create("vit_base_patch16", **SMALL | {"num_classes": 3} | more)


def test_logits_and_gradients(recorded, assert_close):
    case, model, variables, images = recorded

    def loss(variables):
        logits, aux = model.apply(variables, images)
        return jnp.sum(logits * case["input/weights"]), (logits, aux)

    found, (logits, aux) = jax.jit(jax.grad(loss, has_aux=True))(variables)
    assert_close(logits, case["output/logits"], checks.OUTPUT_TOLERANCE, "logits")
    assert aux["losses"] == {}
    assert aux["tokens"].shape == (2, 7, 24)
    by_key, expected = convert.to_torch(model, found), case.group("grad")
    assert set(by_key) == set(expected)
    for key, wanted in expected.items():
        assert_close(by_key[key], wanted, checks.GRADIENT_TOLERANCE, key)


def test_conversion_is_exact_both_ways(recorded):
    checks.conversion_is_exact(*recorded[:2])


def test_the_encoder_is_the_camera_vit(recorded):
    case, model, variables, images = recorded
    shared = {*describe(ViTArguments), "stride_size"} & set(describe(CameraViT))
    given = models.values(model) | {"stride_size": model.patch_size}
    encoder = models.create("camera_vit", **{key: given[key] for key in shared})
    loaded = load_pretrained(encoder, case.group("state"), jax.random.key(0))
    alone, _ = jax.jit(encoder.apply)(loaded, images)
    _, aux = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(alone, aux["tokens"], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (1, True, False, "token")),
        ({"distilled": True, "reg_tokens": 4}, (6, True, True, "token")),
        ({"global_pool": "avg"}, (1, True, False, "avg")),
        ({"class_token": False, "global_pool": "avg"}, (0, False, False, "avg")),
    ],
)
def test_what_a_reduction_may_know(arguments, expected):
    facts = small(**arguments).facts()
    found = facts.protected, facts.class_token, facts.distilled, facts.pool
    assert found == expected
    assert (facts.patches, facts.classes, facts.hidden) == (4, 3, 64)


def test_two_heads_are_averaged_in_training_too():
    model, images = small(distilled=True), jnp.ones((2, 16, 16, 3))
    variables = drawn_variables(model, images)
    logits, aux = jax.jit(model.apply)(variables, images)
    one, other = (variables["params"][name] for name in ("head", "head_dist"))
    tokens = np.asarray(aux["tokens"])
    first = tokens[:, 0] @ one["kernel"] + one["bias"]
    second = tokens[:, 1] @ other["kernel"] + other["bias"]
    np.testing.assert_allclose(logits, (first + second) / 2, rtol=1e-5, atol=1e-6)
    in_training = jax.jit(functools.partial(trained, model))(variables, images)
    np.testing.assert_array_equal(in_training, logits)


RATES = {"drop_rate": 0.5, "attn_drop_rate": 0.5, "drop_path_rate": 0.5}


def trained(model, variables, images):
    rngs = {"dropout": jax.random.key(0)}
    return model.apply(variables, images, train=True, rngs=rngs)[0]


def test_training_gives_finite_gradients():
    # So many that stochastic depth leaves every branch in for one of them.
    model, images = small(**RATES), jnp.ones((8, 16, 16, 3))
    variables = drawn_variables(model, images)
    gradient = jax.jit(jax.grad(lambda v: jnp.sin(trained(model, v, images)).sum()))
    for path, leaf in jax.tree.leaves_with_path(gradient(variables)):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize(
    ("rates", "draws"),
    # The head's; of every block's attention; of both branches of all blocks but one.
    [((), 0), (("drop_rate",), 1), (("attn_drop_rate",), 2), (("drop_path_rate",), 2)],
)
def test_training_draws_what_the_rates_say(rates, draws):
    model = small(**{name: RATES[name] for name in rates})
    images = jnp.ones((2, 16, 16, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    program = jax.make_jaxpr(lambda v: trained(model, v, images))(shapes)
    names = [equation.primitive.name for equation in program.eqns]
    assert names.count("random_bits") == draws


def test_patches_are_left_out_in_training_alone():
    model, images = small(patch_drop_rate=0.75), jnp.ones((2, 16, 16, 3))

    def tokens(train):
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        outputs, _ = model.init_with_output(rngs, images, train=train)
        return outputs[1]["tokens"]

    assert jax.eval_shape(lambda: tokens(False)).shape == (2, 5, 16)
    assert jax.eval_shape(lambda: tokens(True)).shape == (2, 2, 16)


@pytest.mark.parametrize(
    ("name", "img_size", "expected"),
    [
        ("vit_tiny_patch16", 224, 5_717_416),
        ("vit_small_patch16", 224, 22_050_664),
        ("vit_base_patch16", 224, 86_567_656),
        ("vit_base_patch16", 512, 86_567_656 + (32**2 - 14**2) * 768),
    ],
)
def test_published_sizes(name, img_size, expected):
    model = models.create(name, img_size=img_size)
    assert checks.number_of_parameters(model) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_heads": 3}, "embed_dim must divide by num_heads"),
        ({"class_token": False}, "global_pool=avg does without"),
        ({"distilled": True, "global_pool": "avg"}, "distilled reads the class and"),
        ({"distilled": True, "fc_norm": True}, "and without fc_norm"),
        ({"global_pool": "max"}, "global_pool must be one of token, avg"),
        ({"reg_tokens": -1}, "reg_tokens must be at least 0"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"drop_rate": 1.0}, r"drop_rate must be within \[0, 1\)"),
        ({"img_size": 7}, "img_size must be at least patch_size"),
        ({"img_size": (16, 0)}, r"img_size must be at least 1 .*got \(16, 0\)"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


def test_images_that_do_not_fit():
    images = jnp.zeros((1, 24, 16, 3))
    with pytest.raises(ValueError, match=r"\(batch, 16, 16, 3\).*\(1, 24, 16, 3\)"):
        jax.eval_shape(small().init, jax.random.key(0), images)
