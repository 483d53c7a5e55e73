"""`convert` from file to checkpoint: what a file tells and does not, new heads."""

import json
import math

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers.drawn_variables import drawn_variables
from helpers.small_models import DEMO, SMALL, TINY

from tokenjax import convert, models
from tokenjax.commands.convert import define_flags, main
from tokenjax.convert import facts
from tokenjax.convert.command import convert as convert_file
from tokenjax.errors import UserError
from tokenjax.storage import load_variables

SIDE = TINY["img_size"]
IDLE = {  # sizes of a network that is not there
    "full_compute": ["small_hidden_dim"],
    "cheap_compute": ["big_hidden_dim"],
    "no_routing": ["big_hidden_dim"],
}


def save(path, state):
    tensors = {key: np.array(value, order="C") for key, value in state.items()}
    safetensors.numpy.save_file(tensors, path)
    return str(path)


def state_of(name, **arguments):
    model = models.create(name, **arguments)
    variables = drawn_variables(model, *model.example_inputs(1))
    return convert.to_torch(model, variables)


@pytest.fixture
def vit(tmp_path):
    """A file of timm's ViT for 10 classes at 16 pixels, of vit_tiny_patch16's width."""
    state = state_of("vit_tiny_patch16", img_size=SIDE, depth=1, num_classes=10)
    return state, save(tmp_path / "vit.safetensors", state)


def refused(*arguments, **more):
    with pytest.raises(UserError) as caught:
        convert_file(*arguments, **more)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_what_the_shapes_tell_need_not_be_said(tmp_path, name):
    """The file, and the number of heads, make the model again."""
    model = models.create(name, **SMALL[name] | {"num_classes": 7})
    state = state_of(name, **SMALL[name] | {"num_classes": 7})
    path = save(tmp_path / "file.safetensors", state)
    arguments = models.arguments(name)
    told_by_none = {"num_heads", "k_neighbors", "drop_path_rate", "img_size"}
    told_by_none |= {"threshold", *IDLE.get(name, ())}
    sized_by_tables = name.startswith(("vit", "vdpa", "cifar", "lin", "light", "dyn"))
    if sized_by_tables or name.startswith("maxvit") or "patch_grid" in arguments:
        told_by_none.remove("img_size")
    given = {
        key: value
        for key, value in SMALL[name].items()
        if key in told_by_none and not (key == "num_heads" and "swin" in name)
    }
    found = convert_file(name, path, given)
    again = models.create(name, **found.facts.arguments)
    for key in arguments.keys() - {"dtype"}:
        assert getattr(again, key) == getattr(model, key), key
    expected = convert.from_torch(model, state)
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected)


def test_what_was_told_and_what_was_not_is_said(vit):
    found = convert_file("vit_tiny_patch16", vit[1], {})
    told, assumed = found.lines
    assert told == (f"told by the file: depth=1, num_classes=10, img_size={SIDE}")
    assert assumed.startswith(
        "the file does not say, so it is taken for: num_heads=3, norm_eps=1e-06, "
        "activation=gelu, a square grid of 1 x 1 patches (--source_grid)"
    )
    assert found.facts.assumed == {
        "num_heads": 3,
        "norm_eps": 1e-6,
        "activation": "gelu",
    }
    given = {"num_heads": 2, "norm_eps": 1e-3, "activation": "quick_gelu"}
    found = convert_file("vit_tiny_patch16", vit[1], given, source_grid=(1, 1))
    assert found.facts.assumed == {}
    assert len(found.lines) == 1
    assert found.facts.arguments.items() >= given.items()


@pytest.mark.parametrize(
    "prefix", ["module.", "model._orig_mod.", "net.", "a.backbone."]
)
@pytest.mark.parametrize("beside", [{}, {"criterion.weight": np.ones(2, np.float32)}])
def test_shapes_are_told_below_a_prefix_too(tmp_path, vit, prefix, beside):
    wrapped = {prefix + key: array for key, array in vit[0].items()} | beside
    path = save(tmp_path / "last.ckpt", wrapped)
    found = convert_file("vit_tiny_patch16", path, {})
    expected = convert_file("vit_tiny_patch16", vit[1], {})
    assert found.facts.arguments == expected.facts.arguments
    assert found.lines == expected.lines
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)
    body = {key: array for key, array in wrapped.items() if ".head." not in key}
    path = save(tmp_path / "body.bin", body)
    found = convert_file("vit_tiny_patch16", path, {"num_classes": 3}, head="new")
    params, whole = found.variables["params"], expected.variables["params"]
    jax.tree.map(np.testing.assert_array_equal, params["encoder"], whole["encoder"])


def test_clips_activation_is_said_and_can_be_another(tmp_path):
    sizes = {"patch_size": 4, "stride_size": 4, "width": 16, "layers": 1}
    grid = {"h_resolution": 2, "w_resolution": 2, "heads": 2, "output_dim": 8}
    state = state_of("clip_vit", **sizes, **grid)
    path = save(
        tmp_path / "clip.safetensors", {f"visual.{k}": v for k, v in state.items()}
    )
    found = convert_file("clip_vit", path, grid)
    assert "activation=quick_gelu" in "\n".join(found.lines)
    # Published networks' patches do not overlap, whatever clip_vit's stride is.
    assert found.facts.arguments["stride_size"] == 4
    changed = convert_file("clip_vit", path, grid | {"activation": "gelu"})
    assert changed.facts.assumed == {}
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    outputs = [
        models.create("clip_vit", **each.facts.arguments).apply(each.variables, images)[
            0
        ]
        for each in (found, changed)
    ]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4


def test_what_contradicts_the_file_is_refused(vit):
    message = refused("vit_tiny_patch16", vit[1], {"depth": 2, "in_chans": 1})
    assert message == (
        "the file is of another network: --model.depth=2, and the file's is 1; "
        "--model.in_chans=1, and the file's is 3"
    )
    assert "did you mean 'depth'" in refused("vit_tiny_patch16", vit[1], {"dpth": 1})


def test_heads_of_another_width_must_be_given(tmp_path):
    state = state_of("vit_small_patch16", img_size=SIDE, depth=1, num_classes=3)
    path = save(tmp_path / "small.safetensors", state)
    message = refused("vit_tiny_patch16", path, {})
    assert "embed_dim is 384, vit_tiny_patch16's is 192" in message
    assert "--model.num_heads=N" in message
    found = convert_file("vit_tiny_patch16", path, {"num_heads": 6})
    assert found.facts.arguments["embed_dim"] == 384


def test_another_number_of_classes_is_refused_until_the_head_is_new(vit):
    state, path = vit
    message = refused("vit_tiny_patch16", path, {"num_classes": 3})
    assert "head.weight is (10, 192), this model's is (3, 192)" in message
    assert "--head=new" in message
    found = convert_file("vit_tiny_patch16", path, {"num_classes": 3}, head="new")
    assert "left out: head.bias, head.weight" in found.lines
    assert "new, drawn at random: head.bias, head.weight" in found.lines
    model = models.create("vit_tiny_patch16", **found.facts.arguments)
    back = convert.to_torch(model, found.variables)
    assert back["head.weight"].shape == (3, 192)
    assert back["head.weight"].std() > 0
    for key in state.keys() - {"head.weight", "head.bias"}:
        np.testing.assert_array_equal(back[key], state[key])


def test_a_new_head_is_new_even_of_as_many_classes(vit):
    found = convert_file("vit_tiny_patch16", vit[1], {}, head="new")
    kernel = found.variables["params"]["head"]["kernel"]
    assert not np.array_equal(kernel.T, vit[0]["head.weight"])


def test_another_size_resizes_and_says_so(vit):
    found = convert_file("vit_tiny_patch16", vit[1], {"img_size": 64})
    assert "pos_embed: resized from 1 x 1 to 4 x 4 (bicubic_antialias)" in found.lines
    assert found.facts.grid == (4, 4)
    assert found.facts.image == (64, 64, 3)
    found = convert_file(
        "vit_tiny_patch16", vit[1], {"img_size": 64}, method="bilinear"
    )
    assert "pos_embed: resized from 1 x 1 to 4 x 4 (bilinear)" in found.lines


HEADLESS = {
    "vit_tiny_patch16": ("head.", {"mask_token": np.zeros((1, 1, 192), np.float32)}),
    "resnet50": ("fc.", {}),
    "swin_tiny": ("head.fc.", {}),
    "convnextv2_tiny": ("head.fc.", {}),
    "vmamba_tiny": ("classifier.head.", {}),
}


@pytest.mark.parametrize("name", HEADLESS)
def test_a_file_without_a_head_takes_a_new_one(tmp_path, name):
    prefix, more = HEADLESS[name]
    small = SMALL[name] if name != "vit_tiny_patch16" else {"img_size": 16, "depth": 1}
    state = state_of(name, **small)
    body = {key: value for key, value in state.items() if not key.startswith(prefix)}
    path = save(tmp_path / "body.safetensors", body | more)
    given = {key: small[key] for key in ("img_size", "num_heads") if key in small}
    message = refused(name, path, given)
    assert "is missing" in message
    assert "--head=new" in message
    found = convert_file(name, path, given | {"num_classes": 4}, head="new")
    model = models.create(name, **found.facts.arguments)
    back = convert.to_torch(model, found.variables)
    assert back[f"{prefix}weight"].shape[0] == 4
    for key, value in body.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[key], value)
    if more:
        assert "left out: mask_token" in found.lines


@pytest.mark.parametrize("missing", ["blocks.0.norm1.bias", "norm.weight"])
def test_a_new_head_makes_up_nothing_else(vit, tmp_path, missing):
    state = {key: value for key, value in vit[0].items() if key != missing}
    path = save(tmp_path / "part.safetensors", state)
    assert f"missing: {missing}" in refused("vit_tiny_patch16", path, {}, head="new")


def test_a_distilled_deit_has_two_heads_or_is_a_body(vit, tmp_path):
    state, _ = vit
    token = np.full((1, 1, 192), 9, np.float32)
    positions = state["pos_embed"]
    both = np.concatenate([positions[:, :1], token, positions[:, 1:]], axis=1)
    file = state | {"dist_token": token, "pos_embed": both}
    file |= {f"head_dist.{k}": state[f"head.{k}"] for k in ("weight", "bias")}
    path = save(tmp_path / "deit.safetensors", file)
    found = convert_file("vit_tiny_patch16", path, {})
    assert found.facts.arguments["img_size"] == SIDE
    assert "distilled=True" in found.lines[0]
    params = found.variables["params"]
    np.testing.assert_array_equal(params["encoder"]["dist_token"], token)
    jax.tree.map(np.testing.assert_array_equal, params["head_dist"], params["head"])
    plain = {"distilled": False}
    message = refused("vit_tiny_patch16", path, plain)
    assert "outputs depend on dist_token, head_dist.bias, head_dist.weight" in message
    found = convert_file("vit_tiny_patch16", path, plain, head="new")
    assert found.facts.arguments["img_size"] == SIDE
    encoder = found.variables["params"]["encoder"]
    np.testing.assert_array_equal(encoder["pos_embed"], positions)


def test_a_grid_is_no_matter_of_a_convolution(tmp_path):
    state = state_of("resnet50", **SMALL["resnet50"])
    path = save(tmp_path / "resnet.safetensors", state)
    message = refused("resnet50", path, {}, source_grid=(2, 2))
    assert message == "--source_grid: no weight of resnet50 depends on a grid"
    assert convert_file("resnet50", path, {}).facts.grid is None


CONFIG = {"model_type": "vit", "num_attention_heads": 4, "image_size": [16, 64]}
PROCESSOR = {
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.5, 0.5, 0.25],
    "size": {"shortest_edge": 256},
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,
}


def directory(tmp_path, state, config, processor=None):
    save(tmp_path / "model.safetensors", state)
    (tmp_path / "config.json").write_text(json.dumps(config))
    if processor is not None:
        text = json.dumps(processor)
        (tmp_path / "preprocessor_config.json").write_text(text)
    return str(tmp_path)


def test_what_lies_beside_the_weights_is_known(tmp_path):
    """Among it the grid: 4 patches in a row are no square, whatever their number."""
    state = state_of("vit_tiny_patch16", img_size=(16, 64), depth=1, num_classes=2)
    labels = {"0": "cat", "1": "dog"}
    where = directory(tmp_path, state, CONFIG | {"id2label": labels}, PROCESSOR)
    found = convert_file("vit_tiny_patch16", where, {})
    assert found.facts.grid == (1, 4)
    np.testing.assert_array_equal(
        found.variables["params"]["encoder"]["pos_embed"], state["pos_embed"]
    )
    assert found.facts.arguments["num_heads"] == 4
    assert found.facts.arguments["norm_eps"] == 1e-12
    assert found.facts.assumed == {}
    assert found.facts.preprocessing == facts.Preprocessing(
        ("cat", "dog"), (0.4, 0.5, 0.6), (0.5, 0.5, 0.25), 0.875, "bicubic"
    )
    turned = convert_file("vit_tiny_patch16", where, {"img_size": 32}, head="new")
    assert "pos_embed: resized from 1 x 4 to 2 x 2" in "\n".join(turned.lines)
    assert turned.facts.preprocessing.classes is None  # they are the old head's


def test_timms_directory(tmp_path):
    state = state_of("vit_tiny_patch16", img_size=16, depth=1, num_classes=2)
    pretrained = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9}
    pretrained |= {"interpolation": "bicubic", "label_names": ["a", "b"]}
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": pretrained}
    found = convert_file("vit_tiny_patch16", directory(tmp_path, state, config), {})
    half = (0.5, 0.5, 0.5)
    expected = facts.Preprocessing(("a", "b"), half, half, 0.9, "bicubic")
    assert found.facts.preprocessing == expected
    given = facts.Preprocessing(classes=("x", "y"), crop=1.0)
    found = convert_file("vit_tiny_patch16", str(tmp_path), {}, preprocessing=given)
    expected = expected._replace(classes=("x", "y"), crop=1.0)
    assert found.facts.preprocessing == expected


def test_shards_are_joined(tmp_path, vit):
    state, path = vit
    keys = sorted(state)
    parts = {"a.safetensors": keys[::2], "b.safetensors": keys[1::2]}
    where = tmp_path / "shards"
    where.mkdir()
    for name, part in parts.items():
        save(where / name, {key: state[key] for key in part})
    index = {key: name for name, part in parts.items() for key in part}
    (where / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": index})
    )
    whole = convert_file("vit_tiny_patch16", path, {})
    joined = convert_file("vit_tiny_patch16", str(where), {})
    jax.tree.map(np.testing.assert_array_equal, joined.variables, whole.variables)
    save(where / "b.safetensors", state)
    message = refused("vit_tiny_patch16", str(where), {})
    assert "b.safetensors holds, unlike the index says, " in message


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("[]", "config.json holds no JSON object"),
        ("{", "config.json cannot be read"),
        ('{"model_type": "vit", "hidden_act": "relu"}', "hidden_act is 'relu'"),
        ('{"model_type": "vit", "image_size": "x"}', "cannot be understood"),
        ('{"model_type": "vit", "layer_norm_eps": null}', "cannot be understood"),
        ('{"model_type": "vit", "id2label": {"a": 1}}', "cannot be understood"),
        ('{"pretrained_cfg": 3}', "cannot be understood"),
    ],
)
def test_odd_files_beside_the_weights(tmp_path, vit, config, sentence):
    save(tmp_path / "model.safetensors", vit[0])
    (tmp_path / "config.json").write_text(config)
    message = refused("vit_tiny_patch16", str(tmp_path), {})
    assert sentence in message
    assert str(tmp_path) in message or "config.json" in message


def test_a_directory_without_weights(tmp_path):
    message = refused("vit_tiny_patch16", str(tmp_path), {})
    assert f"no checkpoint file in {tmp_path}" in message


def run(*arguments):
    from absl import flags

    values = flags.FlagValues()
    define_flags(arguments, values)
    values(["convert", *map(str, arguments)])
    main([], values)


def test_the_flags_reach_the_checkpoint(tmp_path, vit, capsys):
    output = tmp_path / "out"
    where = ["--model=vit_tiny_patch16", f"--checkpoint={vit[1]}", f"--output={output}"]
    names = ",".join(f"class {number}" for number in range(10))
    run(
        *where,
        "--model.img_size=32",
        "--resize=bicubic",
        "--source_grid=1x1",
        f"--classes={names}",
        "--mean=0.1,0.2,0.3",
        "--std=(1, 2, 3)",
        "--crop=0.9",
        "--interpolation=bilinear",
    )
    assert "resized from 1 x 1 to 2 x 2 (bicubic)" in capsys.readouterr().out
    _, metadata = load_variables(output)
    expected = {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3], "crop": 0.9, "grid": [2, 2]}
    expected |= {"interpolation": "bilinear", "classes": names.split(",")}
    expected |= {"image": [32, 32, 3], "file": "vit.safetensors"}
    assert metadata.items() >= expected.items()
    assert metadata["assumed"]["num_heads"] == 3
    assert len(metadata["sha256"]) == 64
    assert metadata["model"]["num_classes"] == 10


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--mean=0.5,0.5", "mean has 2 numbers and an image 3 channels"),
        ("--mean=a,b,c", "--mean must be numbers with commas, got 'a,b,c'"),
        ("--std=1,nan,1", "--std must be numbers"),
        ("--std=1,0,1", "std must be above 0, got 1, 0, 1"),
        ("--crop=1.5", "crop must be within (0, 1], got 1.5"),
        ("--classes=a,b", "2 classes are named and the model tells 10 apart"),
        ("--classes=a,a", "--classes must be names that differ"),
        ("--source_grid=4", "--source_grid must be ROWSxCOLUMNS, got '4'"),
        ("--source_grid=0x4", "--source_grid must be ROWSxCOLUMNS"),
        ("--source_grid=2x2", "not of a grid of 2 x 2 patches"),
    ],
)
def test_flags_that_do_not_fit(tmp_path, vit, flag, sentence):
    output = tmp_path / "out"
    where = ["--model=vit_tiny_patch16", f"--checkpoint={vit[1]}", f"--output={output}"]
    with pytest.raises(UserError) as caught:
        run(*where, flag)
    assert sentence in str(caught.value)
    assert not output.exists()


def test_classes_from_a_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("Löwe\nchat noir\n", encoding="utf-8")
    assert facts.read_classes(str(path)) == ("Löwe", "chat noir")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"cannot be read"):
        facts.read_classes(str(path))
    assert facts.read_numbers("0.5, 1", "mean") == (0.5, 1.0)
    assert math.isclose(facts.read_numbers("[1e-3]", "mean")[0], 0.001)


def test_a_whole_demo_is_of_the_grid_that_is_said(tmp_path):
    """4 x 2 patches as it was trained; its sets of vehicles have 2 x 4."""
    state = state_of("demo", **DEMO)
    path = save(tmp_path / "demo.safetensors", state)
    given = {key: DEMO[key] for key in DEMO.keys() - {"num_classes", "camera_num"}}
    message = refused("demo", path, given)
    assert "--source_grid=4x2 if it is this model's, 4 x 2" in message
    found = convert_file("demo", path, given, source_grid=(4, 2))
    assert found.facts.arguments["num_classes"] == DEMO["num_classes"]
    assert found.facts.arguments["camera_num"] == DEMO["camera_num"]
    wide = given | {"image_size": (8, 16)}
    turned = convert_file("demo", path, wide, source_grid=(4, 2))
    assert "resized from 4 x 2 to 2 x 4 (bilinear)" in "\n".join(turned.lines)
    assert turned.facts.grid == (2, 4)
    assert turned.facts.image == (8, 16, 3)


def test_maxvits_windows_are_of_one_size(tmp_path):
    small = SMALL["maxvit_tiny"]
    state = state_of("maxvit_tiny", **small)
    path = save(tmp_path / "maxvit.safetensors", state)
    message = refused("maxvit_tiny", path, {"img_size": 96})
    assert "--model.img_size=96, and the file's is 64" in message


def test_a_backbone_of_demo_is_no_square_for_its_number(tmp_path):
    """16 positions of a backbone that saw 8 x 2 patches."""
    sizes = {"width": 16, "layers": 1, "heads": 2, "output_dim": 8}
    given = {"h_resolution": 8, "w_resolution": 2, "heads": 2}
    state = state_of("clip_vit", **sizes, h_resolution=8, w_resolution=2)
    file = {f"BACKBONE.base.{key}": value for key, value in state.items()}
    path = save(tmp_path / "demo.safetensors", file)
    assert "--source_grid=8x2 if it is this" in refused("clip_vit", path, given)
    found = convert_file("clip_vit", path, given, source_grid=(8, 2))
    positions = found.variables["params"]["positional_embedding"]
    np.testing.assert_array_equal(positions, state["positional_embedding"])
    assert found.facts.source_grid == found.facts.grid == (8, 2)
