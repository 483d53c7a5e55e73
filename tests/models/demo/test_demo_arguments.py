"""DeMo's sizes, its one structure in every mode, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import pytest
from helpers.small_models import small_demo as small

from tokenjax import models
from tokenjax.errors import UserError
from tokenjax.models.demo import demo_settings

NAMES = ("rgb", "nir", "tir")
FUSION = ("none", "hdm", "hdm_atm", "sdtps")
HDM = {"fusion": "hdm_atm", "direct": False}
IMAGENET = {"transformer_type": "vit_base_patch16_224", "feat_dim": 16}


PUBLISHED = [  # the arguments, the number of parameters, and of those that learn
    ({}, 88_620_645, 88_617_573),
    (
        {"sdtps_sparse_ratio": 0.7, "sdtps_aggr_ratio": 0.5},
        88_626_516,
        88_623_444,
    ),
    (HDM, 98_798_080, 98_792_960),
    ({"fusion": "none"}, 87_989_760, 87_988_224),
    ({"fusion": "none", "global_local": False}, 86_409_216, 86_407_680),
    (
        {**HDM, "head": 8, "num_classes": 50, "camera_num": 8},
        97_952_256,
        97_947_136,
    ),
    (
        {**HDM, "head": 8, "num_classes": 155, "camera_num": 8},
        98_489_856,
        98_484_736,
    ),
]


@pytest.mark.parametrize(("arguments", "total", "learned"), PUBLISHED)
def test_the_recorded_sizes(arguments, total, learned):
    model = models.create("demo", **arguments)
    inputs = model.example_inputs(1)
    params = jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == total
    necks = [value for key, value in params.items() if key.startswith("bottleneck")]
    assert total - sum(neck["bias"].size for neck in necks) == learned


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("fusion", FUSION)
def test_one_structure_in_every_mode(fusion, direct):
    model = small(fusion=fusion, direct=direct)
    inputs = model.example_inputs(2)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    evaluated = jax.eval_shape(model.apply, variables, *inputs)
    absent = functools.partial(model.apply, missing=("nir",))
    trained, _ = jax.eval_shape(
        functools.partial(model.apply, train=True, mutable=["batch_stats"]),
        variables,
        *inputs,
        rngs=dict.fromkeys(("dropout", "gumbel"), jax.random.key(0)),
    )
    assert evaluated == trained == jax.eval_shape(absent, variables, *inputs)
    single = ("direct",) if direct else NAMES
    fused = () if fusion == "none" else ("fused",)
    shapes = jax.tree.map(lambda leaf: leaf.shape, evaluated)
    assert shapes["scores"] == dict.fromkeys((*fused, *single), (2, 5))
    wide = {"none": 3, "sdtps": 3}.get(fusion, 7)
    assert shapes["features"] == {
        "direct": (2, 192),
        "fused": (2, 64 * wide),
        "concat": (2, 192 + (64 * wide if fused else 0)),
    }
    assert shapes["globals"] == dict.fromkeys(NAMES, (2, 64))
    assert evaluated["aux"]["losses"] == {}
    pairs = model.pairs(evaluated)
    assert tuple(pairs) == (*fused, *single)
    for name, (scores, feature) in pairs.items():
        source = "globals" if name in NAMES else "features"
        assert scores is evaluated["scores"][name]
        assert feature is evaluated[source][name]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"fusion": "sdpts"}, "fusion must be one of.*'sdpts'"),
        ({"transformer_type": "ViT-B-61"}, "did you mean 'ViT-B-16'"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"camera_num": 0}, "camera_num must be at least 1"),
        ({"image_size": (16, 0)}, "image_size must be at least 1"),
        ({"stride_size": (0, 4)}, "stride_size must be at least 1"),
        ({"image_size": (2, 2)}, r"image_size \(2, 2\) is less than a patch of 4"),
        ({"score_gradient": "al"}, "score_gradient must be one of.*'al'"),
        ({"mask_aggregation": "polcy"}, "mask_aggregation must be one of.*'polcy'"),
        ({"sdtps_class_token": "yes"}, "sdtps_class_token must be bool, got 'yes'"),
        ({"sdtps_beta": 0.7}, r"beta must be within \[0, 0.5\]"),
        ({"drop_path": 1.0, **IMAGENET}, r"drop_path must be within \[0, 1\)"),
        ({"num_heads": 3}, "width 16 must divide by num_heads 3"),
        ({"fusion": "hdm_atm", "head": 5}, "feat_dim 64 must divide by head 5"),
        ({"fusion": "hdm", "modalities": ("rgb", "nir")}, "HDM pairs three"),
        (
            {"transformer_type": "deit_small_patch16_224"},
            "no projection: feat_dim must be its width 16, got 64",
        ),
        (
            {"patch_size": 8},
            r"takes \(4, 2\) patches.* of 8 at stride \(4, 4\) are \(3, 1\)",
        ),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        small(**arguments)


def test_arguments_that_do_not_fit_a_part():
    model = small(fusion="hdm", feat_dim=32)
    with pytest.raises(UserError, match="feat_dim must be at least 64"):
        jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))


def test_inputs_that_do_not_fit():
    model = small(fusion="none")
    images, cameras = model.example_inputs(2)
    two = {name: images[name] for name in ("rgb", "nir")}
    large = {**images, "nir": jnp.zeros((2, 16, 16, 3))}
    for sentence, arguments, missing in (
        (
            r"images must be a dict by modality.*got \('nir', 'rgb'\)",
            (two, cameras),
            (),
        ),
        ("images must be a dict by modality", ({**images, "uv": 0}, cameras), ()),
        (r"images \(batch, 16, 8, 3\).*got \(2, 16, 16, 3\)", (large, cameras), ()),
        (r"one index for each sample, \(2,\), got \(1,\)", (images, cameras[:1]), ()),
        ("missing must be some of.*'uv'", (images, cameras), ("uv",)),
        ("missing must be some of", (images, cameras), NAMES),
    ):
        init = functools.partial(model.init, missing=missing)
        with pytest.raises(ValueError, match=sentence):
            jax.eval_shape(init, jax.random.key(0), *arguments)


def settings(**cfg_model):
    return demo_settings.from_settings(
        cfg_model, [256, 128], num_classes=171, camera_num=4
    )


def test_the_original_settings():
    assert settings().fusion == "none"
    assert settings(HDM=True).fusion == "hdm"
    assert settings(HDM=True, ATM=True).fusion == "hdm_atm"
    model = settings(USE_SDTPS=True, SDTPS_SPARSE_RATIO=0.7, DIRECT=0, HEAD=8)
    assert model == models.create(
        "demo", fusion="sdtps", sdtps_sparse_ratio=0.7, direct=False, head=8
    )
    backbone = {"layers": 2, "heads": 4}
    model = demo_settings.from_settings({}, (64, 32), 5, 2, backbone, remat=True)
    assert (model.depth, model.num_heads, model.remat) == (2, 4, True)


@pytest.mark.parametrize(
    "refused",
    [{"USE_SDTPS": True, "HDM": True}, {"USE_SDTPS": True, "ATM": True}, {"ATM": True}],
)
def test_settings_that_the_original_cannot_run_or_computes_in_vain(refused):
    with pytest.raises(UserError, match="USE_SDTPS stands alone and ATM needs HDM"):
        settings(**refused)
