"""What the keys of a ViT's file tell of it, where the recorded files do not ask."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from tokenjax import convert, models
from tokenjax.convert.command import convert as convert_file
from tokenjax.convert.reading import read_arguments
from tokenjax.errors import ConversionError
from tokenjax.models.baselines.vision_transformer import ImageNetViT

NAME = "vit_tiny_patch16"
SIZES = {"img_size": 32, "depth": 1, "num_classes": 3}  # 2 x 2 patches


@pytest.fixture
def save(tmp_path):
    """save(arguments of the model) -> path of a file with its keys."""

    def write(**arguments):
        model = models.create(NAME, **SIZES | arguments)
        init = jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))
        drawn = np.random.default_rng(0)
        variables = jax.tree.map(lambda leaf: drawn.normal(size=leaf.shape), init)
        state = convert.to_torch(model, variables)
        path = tmp_path / "model.safetensors"
        safetensors.numpy.save_file(
            {key: np.float32(value) for key, value in state.items()}, path
        )
        return str(path)

    return write


@pytest.mark.parametrize(
    ("leading", "rows", "grid", "expected"),
    [
        ({"cls_token": 1}, 5, None, False),
        ({"cls_token": 1}, 4, None, True),
        ({"cls_token": 1, "reg_token": 4}, 9, None, None),  # 3 x 3, or 2 x 2 and 5
        ({"cls_token": 1, "reg_token": 4}, 9, (3, 3), True),
        ({"cls_token": 1, "reg_token": 4}, 9, (2, 2), False),
        ({"cls_token": 1, "dist_token": 1}, 8, None, None),
        ({"cls_token": 1, "dist_token": 1}, 8, (2, 3), False),
        ({"reg_token": 2}, 6, (2, 3), True),
    ],
)
def test_whose_positions_there_are(leading, rows, grid, expected):
    arrays = {name: np.empty((1, count, 8)) for name, count in leading.items()}
    arrays["pos_embed"] = np.empty((1, rows, 8))
    found = read_arguments(ImageNetViT, arrays, grid)
    assert found.get("no_embed_class") is expected
    assert found["class_token"] == ("cls_token" in leading)
    assert found["distilled"] == ("dist_token" in leading)
    assert found["reg_tokens"] == leading.get("reg_token", 0)


def test_what_is_open_is_said(save):
    path = save(reg_tokens=4)  # 2 x 2 patches and 5 tokens are as many as 3 x 3
    found = convert_file(NAME, path, {"img_size": 32})
    assert found.facts.assumed["no_embed_class"] is False
    found = convert_file(NAME, path, {"img_size": 32}, source_grid=(2, 2))
    assert "no_embed_class" not in found.facts.assumed
    assert found.facts.arguments["reg_tokens"] == 4


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"distilled": True}, "distilled=True, and the file's is False"),
        ({"reg_tokens": 2}, "reg_tokens=2, and the file's is 0"),
        ({"qk_norm": True}, "qk_norm=True, and the file's is False"),
        ({"no_embed_class": True}, "no_embed_class=True, and the file's is False"),
        ({"init_values": 0.1}, "missing: blocks.0.ls1.gamma"),
        ({"global_pool": "avg"}, "missing: fc_norm.weight"),
    ],
)
def test_what_contradicts_the_keys_is_refused(save, given, told):
    with pytest.raises(ConversionError, match=told):
        convert_file(NAME, save(), given)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ({"class_token": False, "global_pool": "avg", "fc_norm": False}, {}),
        ({"global_pool": "avg", "fc_norm": False},) * 2,
        ({"fc_norm": True}, {"fc_norm": True, "global_pool": "token"}),
    ],
)
def test_pooling_and_norm_in_other_pairs(save, arguments, given):
    found = convert_file(NAME, save(**arguments), given)
    model = models.create(NAME, **found.facts.arguments)
    for key in ("class_token", "global_pool", "fc_norm"):
        assert getattr(model, key) == arguments.get(key, models.defaults(NAME)[key])


def test_timms_directory_says_how_it_pools(save, tmp_path):
    path = save(fc_norm=True)
    config = {"architecture": "x", "global_pool": "token"}
    config |= {"model_args": {"fc_norm": True}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = convert_file(NAME, path, {})
    assert found.facts.arguments["fc_norm"] is True
    assert "global_pool" not in found.facts.arguments
    config["global_pool"] = "map"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="global_pool must be one of token, avg"):
        convert_file(NAME, path, {})


def test_deit_3_in_its_own_names(save):
    path = save(init_values=0.1, no_embed_class=True)
    state = safetensors.numpy.load_file(path)
    renamed = {
        key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): array
        for key, array in state.items()
    }
    assert set(renamed) != set(state)
    safetensors.numpy.save_file(renamed, path)
    found = convert_file(NAME, path, {})
    scales = found.variables["params"]["encoder"]["blocks_0"]
    np.testing.assert_array_equal(scales["ls1"], state["blocks.0.ls1.gamma"])
    np.testing.assert_array_equal(scales["ls2"], state["blocks.0.ls2.gamma"])
    assert found.facts.arguments["no_embed_class"] is True
