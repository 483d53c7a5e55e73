"""T2T-ViT: its soft split and sizes, and what every backbone keeps to."""

import functools

import helpers.backbone_checks as checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models
from tokenjax.convert.pretrained import load_pretrained
from tokenjax.models.demo import t2t_vit
from tokenjax.models.position_embedding import resize

SMALL = {
    "img_size": (32, 48),
    "token_dim": 8,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 3.0,
    "camera": 3,
}
CAMERAS = jnp.array([2, 0])
each_type = pytest.mark.parametrize("tokens_type", ["transformer", "performer"])


def small(tokens_type="transformer", **more):
    return models.create("t2t_vit", **SMALL | {"tokens_type": tokens_type} | more)


def stirred(model):
    """Variables that are nowhere at their defaults, and so large that they matter."""
    generator = np.random.default_rng(0)

    def stir(path, leaf):
        if "constants" in str(path):
            return leaf
        if "scale" in str(path):
            return np.float32(generator.uniform(0.5, 1.5, leaf.shape))
        return np.float32(generator.normal(size=leaf.shape) * 0.2)

    return jax.tree_util.tree_map_with_path(stir, checks.start(model)[0])


@pytest.fixture(scope="module")
def reference():
    """(model, variables) -> the program in PyTorch, its weights by our key table."""
    torch = pytest.importorskip("torch")
    from references import pytorch_t2t_vit

    def build(model, variables):
        program = pytorch_t2t_vit.T2TViT(model)
        positions = program.pos_embed.numpy().copy()
        state = convert.to_torch(model, variables)
        copied = {key: torch.from_numpy(leaf) for key, leaf in state.items()}
        program.load_state_dict(copied)  # strict: nothing missing, nothing left over
        np.testing.assert_allclose(program.pos_embed, positions, atol=1e-6)
        return program.eval()

    return build


def images_of(model, batch=2):
    shape = model.example_inputs(batch)[0].shape
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "tokens_type", ["transformer", pytest.param("performer", marks=pytest.mark.long)]
)
def test_outputs_and_gradients(reference, assert_close, tokens_type):
    torch = pytest.importorskip("torch")
    model = small(tokens_type)
    variables, images = stirred(model), images_of(model)
    program = reference(model, variables)
    cotangent = np.random.default_rng(2).normal(size=(2, 7, 16)).astype(np.float32)

    def loss(params, images):
        tokens, _ = model.apply({**variables, "params": params}, images, CAMERAS)
        return jnp.sum(tokens * cotangent), tokens

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    (of_params, of_images), tokens = gradient(variables["params"], images)

    there = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).requires_grad_()
    expected = program(there, torch.tensor([2, 0]))
    assert_close(tokens, expected.detach(), checks.OUTPUT_TOLERANCE, "tokens")
    (expected * torch.from_numpy(cotangent)).sum().backward()
    tolerance = checks.GRADIENT_TOLERANCE
    assert_close(of_images, there.grad.permute(0, 2, 3, 1), tolerance, "images")
    found = convert.to_torch(model, of_params)
    expected = {
        name: parameter.grad
        for name, parameter in program.named_parameters()
        if parameter.requires_grad
    }
    assert set(found) == set(expected)  # what is fixed is no parameter here either
    for name, wanted in expected.items():
        assert_close(found[name], wanted, tolerance, name)


@pytest.mark.parametrize("stride", [2, 4])
def test_soft_split_is_unfold(stride):
    torch = pytest.importorskip("torch")
    features = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32)
    expected = torch.nn.functional.unfold(
        torch.from_numpy(features.transpose(0, 3, 1, 2).copy()),
        2 * stride - 1,
        stride=stride,
        padding=stride // 2,
    ).transpose(1, 2)
    windows = t2t_vit.soft_split(jnp.asarray(features), stride)
    assert windows.shape[1:3] == (8 // stride, 12 // stride)
    np.testing.assert_array_equal(windows.reshape(expected.shape), expected)


@each_type
def test_conversion_is_exact_both_ways(tokens_type):
    model = small(tokens_type)
    state = convert.to_torch(model, stirred(model))
    back = convert.to_torch(model, convert.from_torch(model, state))
    assert set(back) == set(state)
    for key, expected in state.items():
        np.testing.assert_array_equal(back[key], expected, err_msg=key)


def test_published_weights_lose_their_head_and_fit_another_grid():
    square = small("performer", depth=1, img_size=32, camera=0)
    file = convert.to_torch(square, checks.start(square)[0])
    file |= {"head.weight": np.zeros((9, 16)), "head.bias": np.zeros(9)}
    model = small("performer", depth=1, img_size=(64, 32))
    loaded = load_pretrained(model, file, jax.random.key(7))
    back = convert.to_torch(model, loaded)
    expected = resize(file["pos_embed"], (2, 2), (4, 2))
    np.testing.assert_array_equal(back["pos_embed"], expected)
    name = "tokens_to_token.attention1.w"
    np.testing.assert_array_equal(back[name], file[name])
    assert back["sie_embed"].std() > 0
    whole = {f"BACKBONE.base.{key}": value for key, value in (file | back).items()}
    of_demo = load_pretrained(model, whole, jax.random.key(8))
    jax.tree.map(np.testing.assert_array_equal, of_demo, loaded)


@pytest.mark.parametrize(
    ("name", "size", "trained", "fixed"),
    [
        # Counted from the layers' sizes. The sinusoids have a row per token, w is
        # (32, 64) in both attentions. Published, at 224 and with a classifier: 21.5 M.
        ("t2t_vit_14", 224, 21_080_806, 197 * 384 + 2 * 32 * 64),
        ("t2t_vit_t_14", 224, 21_080_422, 197 * 384),
        ("t2t_vit_t_14", (256, 128), 21_080_422, 129 * 384),
    ],
)
def test_the_real_sizes(name, size, trained, fixed):
    model = models.create(name, img_size=size)
    inputs = model.example_inputs(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    found = {
        collection: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for collection, tree in shapes.items()
    }
    assert found == {"params": trained, "constants": fixed}
    if size == 224:
        classifier = 1000 * (384 + 1)
        assert round((trained + fixed + classifier) / 1e6, 1) == 21.5
    tokens, _ = jax.eval_shape(model.apply, shapes, *inputs)
    assert tokens.shape == (1, 1 + model.grid[0] * model.grid[1], 384)
    assert model.grid == ((14, 14) if size == 224 else (16, 8))


def test_the_random_features_are_orthogonal_rows():
    variables, _ = checks.start(small("performer"))
    directions = variables["constants"]["tokens_to_token"]["attention1"]["w"]
    np.testing.assert_allclose(directions @ directions.T, 4 * np.eye(4), atol=1e-5)


def test_the_camera_reaches_every_token():
    model = small(sie_xishu=2.0, return_intermediate=True)
    variables, images = checks.start(model)
    one, other = (
        checks.apply(model)(variables, images, jnp.array(cameras))[1]["embedded"]
        for cameras in ([2, 1], [0, 0])
    )
    embedding = variables["params"]["sie_embed"]
    expected = 2.0 * (embedding[jnp.array([2, 1])] - embedding[0])
    np.testing.assert_allclose(
        one - other, np.broadcast_to(expected, one.shape), atol=1e-5
    )


RATES = {"drop_rate": 0.2, "attn_drop_rate": 0.2, "drop_path_rate": 0.2}


@pytest.mark.parametrize(
    "tokens_type", ["performer", pytest.param("transformer", marks=pytest.mark.long)]
)
def test_finite_gradients_reach_all(tokens_type):
    model = small(tokens_type, camera=2, **RATES)
    checks.finite_gradients_reach_all(model, [jnp.array([1, 0])])


@each_type
def test_only_the_performer_has_dropout_of_its_own(tokens_type):
    model = small(tokens_type)
    variables, images = checks.start(model)
    plain = checks.apply(model)(variables, images, CAMERAS)[0]
    apply = jax.jit(functools.partial(model.apply, train=True))
    key = {"dropout": jax.random.key(0)}
    trained = apply(variables, images, CAMERAS, rngs=key)[0]
    assert (np.abs(trained - plain).max() > 1e-5) == (tokens_type == "performer")


@pytest.mark.parametrize(
    "tokens_type", ["transformer", pytest.param("performer", marks=pytest.mark.long)]
)
def test_bfloat16_computes_about_the_same(tokens_type):
    checks.bfloat16_is_close(small(tokens_type), [CAMERAS])


def test_remat_changes_nothing():
    # The one with something fixed inside of what is computed again.
    model = small("performer", camera=2, **RATES)
    checks.remat_changes_nothing(model, [jnp.array([1, 0])])


def test_one_compilation_per_shape():
    checks.compiles_once_per_shape(small(), lambda batch: [jnp.zeros(batch, int)])


def test_intermediates_are_asked_for():
    for asked in (False, True):
        model = small(return_intermediate=asked)
        variables, images = checks.start(small())
        _, aux = jax.eval_shape(model.apply, variables, images, CAMERAS)
        assert set(aux) == {"losses", "reduction", "embedded", "blocks"}
        assert (aux["embedded"] is not None, aux["blocks"] is not None) == (asked,) * 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tokens_type": "convolution"}, "tokens_type must be one of"),
        ({"token_dim": 1}, "token_dim must be at least 2"),
        ({"img_size": (32, 40)}, r"img_size \(32, 40\) must divide by 16"),
        ({"stride_size": (16, 12)}, "patch_size and stride_size must be 16"),
        ({"patch_size": 8}, "patch_size and stride_size must be 16"),
        ({"num_heads": 3}, "embed_dim must divide by num_heads"),
    ],
)
def test_arguments_that_do_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


def test_demo_runs_on_it_and_converts():
    model = models.create(
        "demo",
        transformer_type="t2t_vit_t_14",
        image_size=(64, 32),
        width=16,
        depth=1,
        num_heads=2,
        num_classes=5,
        camera_num=3,
        fusion="none",
    )
    backbone = model.sizes()
    assert (backbone.feat_dim, backbone.mlp_ratio, backbone.qkv_bias) == (
        16,
        3.0,
        False,
    )
    images, cameras = model.example_inputs(2)
    generator = np.random.default_rng(0)
    images = {
        name: np.float32(generator.normal(size=value.shape))
        for name, value in images.items()
    }
    variables = drawn_variables(model, images, cameras)
    apply = jax.jit(model.apply)
    outputs = apply(variables, images, cameras)
    assert outputs["features"]["direct"].shape == (2, 48)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs["scores"]))
    other = apply(variables, images, cameras + 1)
    direct = [out["features"]["direct"] for out in (outputs, other)]
    assert np.abs(direct[0] - direct[1]).max() > 0

    state = convert.to_torch(model, variables)
    assert "BACKBONE.base.tokens_to_token.attention1.attn.qkv.weight" in state
    assert state["BACKBONE.base.pos_embed"].shape == (1, 9, 16)
    jax.tree.map(
        np.testing.assert_array_equal, convert.from_torch(model, state), variables
    )
