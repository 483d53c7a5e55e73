"""MaxViT against timm's."""

import functools

import helpers.backbone_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.models.baselines import mbconv

SMALL = {
    "img_size": 64,
    "embed_dim": (8,),
    "depths": (2,),
    "stem_width": 4,
    "head_hidden_size": 6,
    "transformer_dim_head": 4,
    "num_classes": 3,
}
FOUR = {"embed_dim": (8, 8, 8, 8), "depths": (1, 1, 1, 1)}  # stages


@pytest.fixture(scope="module")
def recorded(golden):
    """(case, model, variables, images)."""
    case = golden("peers/maxvit")
    model = models.create("maxvit_tiny", **case.meta["constructor_args"])
    variables = convert.from_torch(model, case.group("state"))
    return case, model, variables, case["input/images"].transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def small():
    """(model, variables) with every rate above 0."""
    rates = {"drop_rate": 0.2, "drop_path_rate": 0.3}
    model = models.create("maxvit_tiny", **SMALL | rates)
    return model, drawn_variables(model, *model.example_inputs(1))


def test_logits_and_gradients(recorded, assert_close):
    case, model, variables, images = recorded
    assert model.window == (2, 3)

    def loss(params):
        logits, aux = model.apply({**variables, "params": params}, images)
        return jnp.sum(logits * case["input/weights"]), (logits, aux)

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    found, (logits, aux) = gradient(variables["params"])
    assert_close(logits, case["output/logits"], checks.OUTPUT_TOLERANCE, "logits")
    assert aux == {"losses": {}}
    by_key, expected = convert.to_torch(model, found), case.group("grad")
    assert set(by_key) == set(expected)
    for key, wanted in expected.items():
        assert_close(by_key[key], wanted, checks.GRADIENT_TOLERANCE, key)


def test_conversion_is_exact_both_ways(recorded):
    checks.conversion_is_exact(*recorded[:2])


def test_training_moves_the_averages_and_draws(small):
    """Its gradients are with those of all models, in test_models.py."""
    model, variables = small
    images = jax.random.normal(jax.random.key(1), (3, 64, 64, 3))

    @jax.jit
    def train(key):
        rngs = {"dropout": key}
        (logits, _), moved = model.apply(
            variables, images, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits, moved["batch_stats"]

    logits, moved = train(jax.random.key(0))
    assert np.isfinite(logits).all()
    before = jax.tree.leaves(variables["batch_stats"])
    for new, old in zip(jax.tree.leaves(moved), before, strict=True):
        assert np.isfinite(new).all()
        assert np.abs(new - old).max() > 0
    assert np.abs(train(jax.random.key(1))[0] - logits).max() > 0


def test_a_dropped_path_leaves_the_shortcut():
    """With odd sides, whose last places the shortcut halves with zeros."""
    block = mbconv.MBConv(8, stride=2, drop_path=0.999)
    maps = jax.random.normal(jax.random.key(1), (2, 5, 3, 8))
    apply = jax.jit(
        lambda key: block.init_with_output(
            {"params": key, "dropout": key}, maps, train=True
        )
    )
    padded = np.pad(maps, ((0, 0), (0, 1), (0, 1), (0, 0)))
    expected = sum(padded[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    found, _ = apply(jax.random.key(0))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_other_images_than_the_window_was_made_for(small):
    model, variables = small
    apply = functools.partial(model.apply, variables)
    logits, _ = jax.eval_shape(apply, jnp.zeros((1, 128, 72, 3)))
    assert logits.shape == (1, 3)
    sentence = r"images of 64 x 68 are not whole windows of 2 x 2 places"
    with pytest.raises(ValueError, match=sentence):
        apply(jnp.zeros((1, 64, 68, 3)))
    for wrong in ((1, 64, 64, 4), (64, 64, 3)):
        with pytest.raises(ValueError, match=r"takes images \(batch, 64, 64, 3\)"):
            apply(jnp.zeros(wrong))


@pytest.mark.long  # a real size, traced
@pytest.mark.parametrize(("size", "expected"), [(224, 30_916_528), (512, 31_049_584)])
def test_published_sizes(size, expected):
    model = models.create("maxvit_tiny", img_size=size)
    assert model.window == (size // 32, size // 32)
    run = functools.partial(jax.eval_shape, model.init_with_output)
    (logits, _), shapes = run(jax.random.key(0), *model.example_inputs(1))
    assert logits.shape == (1, 1000)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == expected


def test_below_64_pixels_a_window_is_one_place():
    model = models.create("maxvit_tiny", **SMALL | {"img_size": (45, 63)})
    assert model.window == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (FOUR | {"img_size": 500}, "img_size 500 does not .* nearest: 480 and 512"),
        (FOUR | {"img_size": (64, 70)}, "img_size 70 does not .* nearest: 64 and 96"),
        (FOUR | {"img_size": 20}, "img_size 20 does not .* nearest: 32$"),
        ({"depths": (1, 1)}, "embed_dim and depths must be of as many stages"),
        ({"depths": (0,)}, "depths must be at least 1"),
        ({"embed_dim": (2,)}, "embed_dim must be at least 4"),
        ({"transformer_dim_head": 3}, "embed_dim must divide by transformer_dim_head"),
        ({"stem_width": 0}, "stem_width must be at least 1"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate must be within \[0, 1\)"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.create("maxvit_tiny", **SMALL | arguments)
