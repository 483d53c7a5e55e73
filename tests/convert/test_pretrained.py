"""Published weights in every layout: made from a model's own, and read back equal."""

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers import published_weights, training_runs

from tokenjax import convert, models, storage
from tokenjax.convert.checkpoint_files import read_state_dict
from tokenjax.convert.pretrained import load_pretrained
from tokenjax.models.position_embedding import resize

KEY = jax.random.key(7)
CLIP = {
    "h_resolution": 3,
    "w_resolution": 3,
    "patch_size": 4,
    "stride_size": 4,
    "width": 16,
    "layers": 2,
    "heads": 2,
    "output_dim": 8,
}
CAMERA = {
    "img_size": 12,
    "patch_size": 4,
    "stride_size": 4,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "qkv_bias": True,
}


def draw(name, **arguments):
    """A model and the state_dict of its first weights, drawn anew and half precise."""
    model = models.create(name, **arguments)
    variables = jax.jit(model.init)(jax.random.key(0), *model.example_inputs(1))
    generator = np.random.default_rng(0)
    state = {
        key: generator.normal(size=value.shape).astype(np.float16)
        for key, value in convert.to_torch(model, variables).items()
    }
    return model, state


LAYOUTS = [
    ("clip_vit", CLIP, published_weights.openai),
    ("clip_vit", CLIP, published_weights.hugging_face),
    ("clip_vit", CLIP, dict),  # open_clip's image tower alone
    ("clip_vit", CLIP, published_weights.demo),
    ("camera_vit", CAMERA, published_weights.timm),
    ("camera_vit", CAMERA, published_weights.distilled),
    ("camera_vit", CAMERA | {"camera": 3}, published_weights.demo),
]
each_layout = pytest.mark.parametrize(
    ("name", "arguments", "layout"),
    LAYOUTS,
    ids=lambda value: getattr(value, "__name__", None),
)


@each_layout
def test_every_layout_gives_the_weights_back(name, arguments, layout):
    model, state = draw(name, **arguments)
    back = convert.to_torch(model, load_pretrained(model, layout(state), KEY))
    assert set(back) == set(state)
    for key, expected in state.items():
        assert back[key].dtype == np.float32
        np.testing.assert_array_equal(back[key], expected, err_msg=key)


@each_layout
@pytest.mark.parametrize("prefix", ["module.", "model._orig_mod.", "backbone.", "x."])
def test_every_layout_is_read_below_a_prefix(name, arguments, layout, prefix, caplog):
    model, state = draw(name, **arguments)
    wrapped = {prefix + key: array for key, array in layout(state).items()}
    wrapped["criterion.weight"] = np.ones(2, np.float32)
    back = convert.to_torch(model, load_pretrained(model, wrapped, KEY))
    for key, expected in state.items():
        np.testing.assert_array_equal(back[key], expected, err_msg=key)
    assert f"below {prefix.replace('_orig_mod.', '')!r}: criterion" in caplog.text


def test_position_embeddings_are_resized_to_the_grid():
    _, state = draw("clip_vit", **CLIP)
    model = models.create("clip_vit", **CLIP | {"h_resolution": 4, "w_resolution": 2})
    file = published_weights.openai(state)
    loaded = load_pretrained(model, file, KEY)["params"]["positional_embedding"]
    single = state["positional_embedding"].astype(np.float32)
    np.testing.assert_array_equal(loaded, resize(single, (3, 3), (4, 2)))

    _, state = draw("camera_vit", **CAMERA)
    model = models.create("camera_vit", **CAMERA | {"img_size": (16, 8)})
    file = published_weights.distilled(state)
    loaded = load_pretrained(model, file, KEY)["params"]["pos_embed"]
    single = state["pos_embed"].astype(np.float32)
    np.testing.assert_array_equal(loaded, resize(single, (3, 3), (4, 2)))


def test_what_no_file_has_keeps_its_initial_value():
    _, state = draw("camera_vit", **CAMERA)
    model = models.create("camera_vit", **CAMERA, camera=3)
    variables = load_pretrained(model, published_weights.timm(state), KEY)
    initial = jax.jit(model.init)(KEY, *model.example_inputs(1))
    ours, theirs = variables["params"], initial["params"]
    np.testing.assert_array_equal(ours["sie_embed"], theirs["sie_embed"])
    np.testing.assert_array_equal(ours["cls_token"], state["cls_token"])
    assert ours["sie_embed"].std() > 0


def test_all_faults_are_listed_at_once():
    model, state = draw("clip_vit", **CLIP)
    file = published_weights.hugging_face(state)
    del file["visual_projection.weight"]
    del file["vision_model.encoder.layers.1.self_attn.k_proj.bias"]
    file["vision_model.extra"] = np.zeros(2)
    file["vision_model.embeddings.position_embedding.weight"] = np.zeros((8, 16))
    with pytest.raises(convert.ConversionError) as caught:
        load_pretrained(model, file, KEY)
    for part in (
        "missing: proj",
        "missing: transformer.resblocks.1.attn.in_proj_bias",
        "unexpected: transformer.resblocks.1.attn.q_proj.bias (16,)",
        "unexpected: vision_model.extra (2,)",
        "wrong shape: positional_embedding is (8, 16), this model's is (10, 16)",
    ):
        assert part in str(caught.value), part


def test_another_backbones_file_does_not_fit():
    model, _ = draw("clip_vit", **CLIP)
    _, state = draw("camera_vit", **CAMERA)
    with pytest.raises(convert.ConversionError, match=r"missing: class_embedding"):
        load_pretrained(model, published_weights.timm(state), KEY)
    with pytest.raises(convert.ConversionError, match="no published weights are known"):
        load_pretrained(models.create("vit"), state, KEY)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_command_reads_a_published_file(tmp_path, dtype):
    model, state = draw("clip_vit", **CLIP)
    file = published_weights.hugging_face(state)
    tensors = {
        key: np.ascontiguousarray(value, dtype if "." in key else None)
        for key, value in file.items()
    }
    path, output = tmp_path / "model.safetensors", tmp_path / "out"
    safetensors.numpy.save_file(tensors, path)
    flags = [f"--model.{key}={value}" for key, value in CLIP.items()]
    command = ["--model", "clip_vit", "--checkpoint", path, "--output", output]
    finished = training_runs.run("-m tokenjax.convert", *command, *flags)
    assert finished.returncode == 0, finished.stderr
    variables, metadata = storage.load_variables(output)
    assert metadata["model"] == {"name": "clip_vit"} | CLIP
    expected = load_pretrained(model, read_state_dict(path), KEY)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
