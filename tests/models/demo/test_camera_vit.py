"""The ImageNet ViT with a camera embedding against the recorded one, and more."""

import functools

import helpers.backbone_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import convert, models

SMALL = {
    "img_size": (8, 12),
    "patch_size": 4,
    "stride_size": 4,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "camera": 3,
}
CAMERAS = jnp.array([2, 0])


@pytest.fixture(scope="module")
def recorded(golden):
    case = golden("demo/imagenet_vit")
    model = models.create("camera_vit", **case.meta["constructor_args"]["model"])
    variables = convert.from_torch(model, case.group("state"))
    images = jnp.asarray(case["input/images"].transpose(0, 2, 3, 1))
    return case, model, variables, [images, jnp.asarray(case["input/camera"])]


def small(**more):
    return models.create("camera_vit", **SMALL | more)


def test_outputs(recorded, assert_close):
    case, model, variables, inputs = recorded
    tokens, _ = jax.jit(model.apply)(variables, *inputs)
    assert_close(tokens, case["output/tokens"], checks.OUTPUT_TOLERANCE, "tokens")


def test_outputs_outside_jit_of_variables_as_converted(recorded, assert_close):
    case, model, variables, inputs = recorded
    assert isinstance(variables["params"]["sie_embed"], np.ndarray)
    tokens, _ = model.apply(variables, *inputs)
    assert_close(tokens, case["output/tokens"], checks.OUTPUT_TOLERANCE, "tokens")


def test_gradients(recorded, assert_close):
    checks.parity_of_gradients(*recorded, ["images"], assert_close)


def test_conversion_is_exact_both_ways(recorded):
    checks.conversion_is_exact(recorded[0], recorded[1])


def test_the_camera_reaches_every_token_and_views_have_rows_of_their_own():
    model = small(view=2, sie_xishu=3.0, return_intermediate=True)
    variables, images = checks.start(model)
    embedding = variables["params"]["sie_embed"]
    assert embedding.shape == (6, 1, 16)

    def embedded(cameras, views):
        inputs = images, jnp.array(cameras), jnp.array(views)
        return checks.apply(model)(variables, *inputs)[1]["embedded"]

    difference = embedded([2, 1], [1, 0]) - embedded([0, 0], [0, 0])
    expected = 3.0 * (embedding[jnp.array([5, 2])] - embedding[0])
    expected = np.broadcast_to(expected, difference.shape)
    np.testing.assert_allclose(difference, expected, atol=1e-6)


def test_without_several_cameras_there_is_no_embedding():
    for camera in (0, 1):
        model = small(camera=camera)
        variables, images = checks.start(model)
        assert "sie_embed" not in variables["params"]
        with_camera, _ = checks.apply(model)(variables, images, CAMERAS)  # not read
        without, _ = checks.apply(model)(variables, images)
        np.testing.assert_array_equal(with_camera, without)


def test_a_camera_that_is_not_there_is_not_taken_for_another():
    variables, images = checks.start(small())
    tokens, _ = checks.apply(small())(variables, images, jnp.array([1, 3]))
    assert np.isfinite(tokens[0]).all()
    assert np.isnan(tokens[1]).all()


def test_stochastic_depth_leaves_branches_out_for_whole_samples():
    rate, batch = 0.5, 64
    model = small(depth=2, camera=0, drop_path_rate=rate, return_intermediate=True)
    variables, images = checks.start(model, 1)
    images = jnp.repeat(images, batch, axis=0)
    _, exact = jax.jit(model.apply)(variables, images)
    apply = jax.jit(lambda key: model.apply(variables, images, train=True, rngs=key)[1])
    drawn = apply({"dropout": jax.random.key(0)})
    # The first block's rate is 0, the last one's the rate itself.
    np.testing.assert_allclose(drawn["blocks"][0], exact["blocks"][0], atol=1e-6)
    change = drawn["blocks"][1] - drawn["blocks"][0]  # (b, n, c)
    # Attention and MLP there or not: the MLP's branch reads what attention left.
    kinds = np.unique(np.round(np.asarray(change).reshape(batch, -1), 5), axis=0)
    assert len(kinds) == 4
    assert (np.abs(kinds).max(1) == 0).sum() == 1
    unchanged = np.abs(change).max((1, 2)) == 0
    assert 6 <= unchanged.sum() <= 28  # of 64, a quarter expected
    both = exact["blocks"][1] - exact["blocks"][0]
    assert np.abs(both).max() > 0


def test_rates_of_zero_draw_nothing():
    variables, images = checks.start(small())
    train = jax.jit(functools.partial(small().apply, train=True))
    trained, _ = train(variables, images, CAMERAS)  # no rngs
    plain, _ = checks.apply(small())(variables, images, CAMERAS)
    np.testing.assert_array_equal(trained, plain)


def test_the_scale_and_the_bias_are_the_arguments():
    model = small(qkv_bias=True)
    variables, images = checks.start(model)
    assert "bias" in variables["params"]["blocks_0"]["attn"]["in_proj"]
    same = small(qkv_bias=True, qk_scale=8**-0.5)
    other = small(qkv_bias=True, qk_scale=16**-0.5)
    plain, equal, changed = (
        checks.apply(m)(variables, images, CAMERAS)[0] for m in (model, same, other)
    )
    np.testing.assert_array_equal(plain, equal)
    assert np.abs(plain - changed).max() > 0
    bare, _ = checks.start(small())
    assert "bias" not in bare["params"]["blocks_0"]["attn"]["in_proj"]


@pytest.mark.parametrize("rates", [0.0, 0.2])
def test_finite_gradients_reach_all_that_matters(rates):
    model = small(drop_rate=rates, attn_drop_rate=rates, drop_path_rate=rates)
    checks.finite_gradients_reach_all(model.clone(camera=2), [jnp.array([1, 0])])


def test_bfloat16_computes_about_the_same():
    checks.bfloat16_is_close(small(), [CAMERAS])


def test_remat_changes_nothing():
    rates = dict.fromkeys(("drop_rate", "attn_drop_rate", "drop_path_rate"), 0.2)
    checks.remat_changes_nothing(small(camera=2, **rates), [jnp.array([1, 0])])


def test_one_compilation_per_shape():
    model = small(stride_size=(2, 4))
    checks.compiles_once_per_shape(model, lambda batch: [jnp.zeros(batch, int)])


def test_intermediates_are_asked_for():
    checks.intermediates_are_asked_for(small(), ["embedded", "blocks"], [CAMERAS])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # timm's, without the head, and with the embedding of 4 cameras
        ("camera_vit_base_patch16", 86_567_656 - 769_000 + 4 * 768),
        ("camera_deit_small_patch16", 22_050_664 - 385_000 + 4 * 384),
        ("camera_vit_small_patch16", 48_754_408 - 769_000 + 4 * 768),
    ],
)
def test_the_real_sizes(name, expected):
    assert checks.number_of_parameters(models.create(name, camera=4)) == expected


def test_presets():
    base = models.create("camera_vit_base_patch16", img_size=(256, 128))
    assert (base.grid, base.norm_eps, base.drop_path_rate) == ((16, 8), 1e-6, 0.1)
    assert models.create("camera_vit_small_patch16").qk_scale == 768**-0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_heads": 3}, "embed_dim must divide by num_heads"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate must be within \[0, 1\)"),
        ({"camera": -1}, "camera must be at least 0"),
        ({"img_size": 3}, "img_size must be at least patch_size"),
        ({"img_size": "8"}, r"img_size must be int \| tuple\[int, int\], got '8'"),
        ({"stride_size": (4, 0)}, "stride_size must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


def test_inputs_that_do_not_fit():
    variables, images = checks.start(small())
    with pytest.raises(ValueError, match=r"\(batch, 8, 12, 3\).*got \(2, 12, 8, 3\)"):
        small().apply(variables, images.swapaxes(1, 2), CAMERAS)
    with pytest.raises(
        ValueError, match=r"embedding of 3 cameras, so it takes cameras"
    ):
        small().apply(variables, images)
