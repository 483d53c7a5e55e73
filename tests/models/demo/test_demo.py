"""DeMo: images that must not mix or are missing, cameras, gradients, precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.accelerators import hold_to_accelerators
from helpers.drawn_variables import drawn_variables
from helpers.small_models import small_demo as small

from tokenjax import convert
from tokenjax.models import contract
from tokenjax.models.demo import demo_backbone
from tokenjax.training import parameter_groups

NAMES = ("rgb", "nir", "tir")
HDM = {"fusion": "hdm_atm", "direct": False}
SDTPS = {"fusion": "sdtps", "sdtps_use_gumbel": True, "mask_aggregation": "policy"}
IMAGENET = {"transformer_type": "vit_base_patch16_224", "feat_dim": 16}
VARIANTS = {"none": {"fusion": "none"}, "hdm_atm": HDM, "sdtps": SDTPS}


@functools.cache
def start(model):
    """(variables, images, cameras) of drawn numbers."""
    images, cameras = model.example_inputs(2)
    generator = np.random.default_rng(1)
    images = {
        name: jnp.float32(generator.normal(size=image.shape))
        for name, image in images.items()
    }
    return drawn_variables(model, images, cameras), images, jnp.array([2, 0])


@functools.cache
def apply(model, **more):
    return jax.jit(functools.partial(model.apply, **more))


def rngs():
    return {"dropout": jax.random.key(2), "gumbel": jax.random.key(3)}


@functools.cache
def step(model):
    """(params, the rest) -> ((loss, outputs), gradients) of a training step."""
    _, images, cameras = start(model)

    def loss(params, rest):
        variables = {"params": params, **rest}
        arguments = {"train": True, "rngs": rngs(), "mutable": ["batch_stats"]}
        outputs, _ = model.apply(variables, images, cameras, **arguments)
        leaves = jax.tree.leaves((outputs["scores"], outputs["features"]))
        return sum(jnp.sum(jnp.sin(3 * leaf)) for leaf in leaves), outputs

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def apart(variables):
    return variables["params"], {"batch_stats": variables["batch_stats"]}


@pytest.mark.parametrize("name", VARIANTS)
def test_images_do_not_mix(name):
    """Neither those of a batch nor, without fusion, an identity's modalities."""
    model = small(**VARIANTS[name])
    variables, images, cameras = start(model)
    plain = apply(model)(variables, images, cameras)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(plain))
    other = {key: image.at[1].set(image[1] + 1) for key, image in images.items()}
    moved = apply(model)(variables, other, cameras)
    for key in ("scores", "features"):
        for part, expected in plain[key].items():
            difference = np.abs(moved[key][part] - expected).max(1)
            assert difference[0] < 1e-5, part
            assert difference[1] > 1e-5, part
    changed = apply(model)(variables, {**images, "nir": other["nir"]}, cameras)
    differences = [
        np.abs(changed["globals"][m][1] - plain["globals"][m][1]).max() for m in NAMES
    ]
    assert differences[0] < 1e-5 < differences[1]
    assert differences[2] < 1e-5


def test_modalities_go_through_the_backbone_side_by_side():
    images = {name: jnp.full((4, 2, 2, 3), i) for i, name in enumerate(NAMES)}
    together = demo_backbone.side_by_side(images, NAMES)
    assert together[:, 0, 0, 0].tolist() == [0, 1, 2] * 4
    back = demo_backbone.apart(together, NAMES)
    jax.tree.map(np.testing.assert_array_equal, back, images)


def test_missing_images_are_zeros():
    model = small(**SDTPS)
    variables, images, cameras = start(model)
    missing = ("rgb", "tir")
    zeros = {name: jnp.zeros_like(images[name]) for name in missing}
    expected = apply(model)(variables, {**images, **zeros}, cameras)
    absent = apply(model, missing=missing)
    hurt = {name: jnp.full_like(images[name], jnp.nan) for name in missing}
    for given in ({"nir": images["nir"]}, {**images, **hurt}):
        found = absent(variables, given, cameras)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
        jax.tree.map(close, found, expected)


def test_a_camera_that_is_not_there_is_not_taken_for_another():
    for model in (small(**SDTPS), small(fusion="none", **IMAGENET)):
        variables, images, _ = start(model)
        here = apply(model)(variables, images, jnp.array([1, 1]))
        for camera in (3, -1):
            found = apply(model)(variables, images, jnp.array([1, camera]))
            for part, expected in here["features"].items():
                row = found["features"][part][0]
                np.testing.assert_allclose(row, expected[0], atol=1e-5)
                assert np.isnan(found["features"][part][1]).any()
        other = apply(model)(variables, images, jnp.array([1, 2]))
        changed = np.abs(other["features"]["direct"] - here["features"]["direct"])
        assert changed[0].max() < 1e-5 < changed[1].max()


def test_without_cameras_there_is_no_embedding():
    for more in ({}, IMAGENET):
        model = small(fusion="none", sie_camera=False, **more)
        inputs = model.example_inputs(2)
        params = jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]
        assert "cv_embed" not in params
        assert "sie_embed" not in params["backbone"]


# The others' gradients are held to recorded ones (test_demo_parity.py).
@pytest.mark.parametrize(
    "name",
    [
        "sdtps",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("none", "hdm_atm", "sdtps_quiet")
        ),
    ],
)
def test_finite_gradients_reach_all_that_matters(name):
    more = VARIANTS.get(name, {"fusion": "sdtps"})
    model = small(**more)
    variables, _, _ = start(model)
    program = step(model)
    (_, outputs), gradients = program(*apart(variables))
    hold_to_accelerators(program, *apart(variables))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs))
    for path, leaf in jax.tree.leaves_with_path(gradients):
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.isfinite(leaf).all(), where
        if where.startswith("bottleneck") and where.endswith("bias"):
            assert not leaf.any(), where
        elif where.endswith("_aggr/fc2/bias"):  # the softmax ignores it
            assert np.abs(leaf).max() < 1e-4, where
        else:
            assert leaf.any(), where


@pytest.mark.parametrize("way", ["all", "none"])
def test_what_the_scores_teach_the_backbone(way):
    """beta 0.5 leaves the predictor out: similarities alone make the scores."""
    model = small(fusion="sdtps", sdtps_beta=0.5, score_gradient=way)
    variables, images, cameras = start(model)

    def loss(params):
        rest = {**variables, "params": params}
        scores = model.apply(rest, images, cameras)["aux"]["scores"]
        return sum(jnp.sum(jnp.sin(scores[name])) for name in NAMES)

    found = jax.jit(jax.grad(loss))(variables["params"])
    reached = {
        key
        for key, part in found.items()
        if any(leaf.any() for leaf in jax.tree.leaves(part))
    }
    expected = {"backbone", "cv_embed", *(f"{name}_reduce" for name in NAMES)}
    expected |= {f"{name}_reduce_norm" for name in NAMES}
    assert reached == (set() if way == "none" else expected)


def test_a_layer_of_the_mean_of_what_sdtps_makes():
    """QuickGELU(W LN(mean)) of each modality; its weights belong to the fused pair."""
    model = small(sdtps_join="reduced_mean")
    variables, images, cameras = start(model)
    found = apply(model)(variables, images, cameras)["features"]["fused"]
    joins = {f"{m}_join{part}" for m in NAMES for part in ("", "_norm")}
    params = variables["params"]
    rest = {key: value for key, value in params.items() if key not in joins}
    means = apply(small())({**variables, "params": rest}, images, cameras)
    parts = []
    for name, mean in zip(
        NAMES, jnp.split(means["features"]["fused"], 3, -1), strict=True
    ):
        norm, layer = params[f"{name}_join_norm"], params[f"{name}_join"]
        mean -= mean.mean(-1, keepdims=True)
        unit = mean / jnp.sqrt(jnp.square(mean).mean(-1, keepdims=True) + 1e-5)
        hidden = (unit * norm["scale"] + norm["bias"]) @ layer["kernel"] + layer["bias"]
        parts.append(hidden * jax.nn.sigmoid(1.702 * hidden))
    np.testing.assert_allclose(found, jnp.concatenate(parts, -1), rtol=1e-4, atol=1e-5)
    for group in (contract.FUSION, contract.FUSED):
        paths = parameter_groups.members(model.parameter_groups(), params, group)
        assert joins <= {path.split("/")[0] for path in paths}


@pytest.mark.parametrize("name", ["hdm_atm", "sdtps"])
def test_bfloat16_computes_about_the_same(name):
    model = small(**VARIANTS[name])
    half = model.clone(dtype="bfloat16")
    variables, images, cameras = start(model)
    types = jax.eval_shape(half.init, jax.random.key(0), images, cameras)
    assert {leaf.dtype for leaf in jax.tree.leaves(types)} == {jnp.dtype("float32")}
    exact = apply(model)(variables, images, cameras)
    coarse = apply(half)(variables, images, cameras)
    for program in apply(model), apply(half):
        hold_to_accelerators(program, variables, images, cameras)
    for key in ("scores", "features"):
        for part, expected in exact[key].items():
            assert coarse[key][part].dtype == jnp.float32
            error = jnp.linalg.norm(coarse[key][part] - expected)
            assert 0 < error < 0.05 * jnp.linalg.norm(expected), part


@pytest.mark.parametrize("more", [{}, IMAGENET])
def test_remat_reaches_the_backbone(more):
    """That it changes nothing is what the backbones are held to."""
    counts = []
    for remat in (False, True):
        model = small(fusion="none", remat=remat, depth=3, **more)
        inputs = model.example_inputs(1)
        variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        counts.append(
            str(jax.make_jaxpr(model.apply)(variables, *inputs)).count("remat")
        )
    assert counts[0] == 0
    assert counts[1] >= 3


def test_one_compilation_per_shape():
    model = small(fusion="none")
    variables, images, cameras = start(model)
    traces = []

    @jax.jit
    def run(variables, images, cameras):
        traces.append(1)
        return model.apply(variables, images, cameras)["features"]["concat"]

    for batch in (1, 2, 1, 2, 2):
        cut = {name: image[:batch] for name, image in images.items()}
        run(variables, cut, cameras[:batch])
    assert len(traces) == 2


def test_an_imagenet_backbone_trains_and_converts():
    model = small(fusion="none", depth=2, drop_path=0.5, **IMAGENET)
    variables, images, cameras = start(model)
    assert variables["params"]["backbone"]["sie_embed"].shape == (3, 1, 16)
    found = apply(model)(variables, images, cameras)
    program = step(model)
    (_, outputs), gradients = program(*apart(variables))
    hold_to_accelerators(program, *apart(variables))
    for tree in (found, outputs, gradients):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))
    difference = outputs["features"]["direct"] - found["features"]["direct"]
    assert np.abs(difference).max() > 1e-3  # blocks were left out
    state = convert.to_torch(model, variables)
    assert state["BACKBONE.base.sie_embed"].shape == (3, 1, 16)
    back = convert.from_torch(model, state)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_patches_that_overlap():
    """There are fewer than size // stride counts, by which SDTPS is measured."""
    model = small(fusion="sdtps", stride_size=(2, 4), **IMAGENET)
    assert model.grid == (7, 2)
    assert model.make_sdtps().num_patches == 8 * 2
    inputs = model.example_inputs(2)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    outputs = jax.eval_shape(model.apply, variables, *inputs)
    assert outputs["aux"]["mask"]["rgb"].shape == (2, 14)
