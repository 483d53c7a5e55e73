"""DynamicViT: what learns, what is dropped, and that dropping is exact."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import benchmark, models

SMALL = {"img_size": 16, "patch_size": 2, "embed_dim": 16, "depth": 4, "num_heads": 2}


def build(**more):
    model = models.create("dynamic_vit", **{**SMALL, "dropout": 0.0, **more})
    images = jax.random.normal(jax.random.key(1), (3, 16, 16, 3))
    return model, drawn_variables(model, images), images


def predictor_gradients(model, variables, images):
    def loss(variables):
        rngs = {"gumbel": jax.random.key(2)}
        logits, aux = model.apply(variables, images, train=True, rngs=rngs)
        return jnp.sum(jnp.sin(logits)) + sum(aux["losses"].values())

    gradients = jax.jit(jax.grad(loss))(variables)["params"]
    return {key: value for key, value in gradients.items() if "predictors" in key}


def largest(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("predictor", "ratio_weight"),
    [
        ("local_global", 2.0),
        pytest.param("linear", 2.0, marks=pytest.mark.long),
        pytest.param("local_global", 0.0, marks=pytest.mark.long),
        pytest.param("linear", 0.0, marks=pytest.mark.long),
    ],
)
def test_learned_predictors_receive_gradient(predictor, ratio_weight):
    """Also through the class loss alone, which reaches them by the masked attention."""
    model, variables, images = build(predictor=predictor, ratio_weight=ratio_weight)
    found = predictor_gradients(model, variables, images)
    asked = list(found)[: len(model.steps())]
    for name in asked:
        assert largest(found[name]) > 1e-7, name


@pytest.mark.parametrize(
    "pruning", ["inference", pytest.param("none", marks=pytest.mark.long)]
)
def test_recorded_predictors_receive_none(pruning):
    model, variables, images = build(predictor="linear", pruning=pruning)
    assert largest(predictor_gradients(model, variables, images)) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"keep_ratio": 0.7},
        pytest.param({"keep_ratio": 0.3}, marks=pytest.mark.long),
        pytest.param({"keep_ratio": 1.0}, marks=pytest.mark.long),
        {"predictor": "linear"},
    ],
)
def test_masked_equals_gathered(more):
    gathered, variables, images = build(**more)
    masked = gathered.clone(execution="masked")
    logits, aux = jax.jit(gathered.apply)(variables, images)
    expected, masked_aux = jax.jit(masked.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(aux["keep_masks"], masked_aux["keep_masks"])
    np.testing.assert_allclose(
        aux["class_attention"],
        masked_aux["class_attention"],
        rtol=1e-4,
        atol=1e-6,
    )


def test_counts_shares_and_nesting():
    model, variables, images = build(keep_ratio=0.7)
    assert list(model.steps().values()) == [
        (44, 0.7),
        (31, pytest.approx(0.49)),
        (21, pytest.approx(0.343)),
    ]
    _, aux = jax.jit(model.apply)(variables, images)
    masks = np.asarray(aux["keep_masks"])
    assert masks.sum(-1).tolist() == [[44] * 3, [31] * 3, [21] * 3]
    assert (np.diff(masks, axis=0) <= 0).all()  # what is gone stays gone


def test_training_masks_follow_the_ratio_loss():
    model, variables, images = build()
    rngs = {"gumbel": jax.random.key(5)}
    train = jax.jit(functools.partial(model.apply, train=True))
    _, aux = train(variables, images, rngs=rngs)
    masks = np.asarray(aux["keep_masks"])
    assert set(np.unique(masks)) <= {0.0, 1.0}
    assert (np.diff(masks, axis=0) <= 0).all()
    shares = np.array([share for _, share in model.steps().values()])
    expected = 2.0 * np.mean((masks.mean(-1) - shares[:, None]) ** 2)
    np.testing.assert_allclose(aux["losses"]["keep_ratio"], expected, rtol=1e-5)


def test_pruning_saves_what_it_says():
    """FLOPs of what runs at inference: blocks in proportion to the tokens they see."""
    model, variables, images = build()
    full = model.clone(pruning="none")

    def flops(model):
        return benchmark.count_flops(
            lambda v, x: model.apply(v, x)[0], variables, images
        )

    tokens = np.array([65, 45, 32, 22])
    share = tokens.sum() / (4 * 65)
    assert flops(model) / flops(full) < share + 0.12  # the predictors cost something
    masked = model.clone(execution="masked")
    assert flops(masked) > flops(full)  # a mask alone saves nothing


def test_unpruned_is_a_plain_vit():
    model, variables, images = build(pruning="none")
    plain = model.plain()
    assert type(plain) is type(models.create("vit"))
    params = {k: v for k, v in variables["params"].items() if "predictors" not in k}
    expected, _ = jax.jit(plain.apply)({"params": params}, images)
    logits, aux = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert np.asarray(aux["keep_masks"]).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"keep_ratio": 0.0}, r"keep_ratio must be within \(0, 1\], got 0.0"),
        ({"keep_ratio": 1.2}, r"keep_ratio must be within \(0, 1\], got 1.2"),
        (
            {"predictor": "linear", "keep_rate": (0.5, 1.5, 0.5)},
            r"keep_rate must be within \(0, 1\], got \(0.5, 1.5, 0.5\)",
        ),
        (
            {"predictor": "linear", "keep_rate": (0.5,)},
            "keep_rate needs a rate for each of 4 blocks, got 1",
        ),
        ({"stages": (1, 4)}, r"within 1..3, got \(1, 4\)"),
        ({"stages": (0, 2)}, r"stages must be at least 1 .*got \(0, 2\)"),
        ({"stages": (2, 1)}, "stages must be ascending"),
        ({"keep_rate": (0.5,) * 4}, 'keep_rate belongs to predictor="linear"'),
        (
            {"predictor": "linear", "stages": (1,)},
            'stages belong to predictor="local_global"',
        ),
        ({"predictor": "global"}, "predictor must be one of"),
        ({"pruning": "soft"}, "pruning must be one of"),
        ({"dropout": 1.0}, "dropout must be within"),
        ({"embed_dim": 0}, "embed_dim must be at least 1"),
    ],
)
def test_bad_input(arguments, sentence):
    with pytest.raises(ValueError, match=f"^(DynamicViT|dynamic_vit): .*{sentence}"):
        models.create("dynamic_vit", **SMALL | arguments)
