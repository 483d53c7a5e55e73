"""Positions of a file on the model's grid: rows and columns, never their count."""

import jax
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.small_models import TINY

from tokenjax import convert, models
from tokenjax.convert.grids import fit_positions
from tokenjax.convert.pretrained import load, load_pretrained
from tokenjax.models.position_embedding import resize

KEY = jax.random.key(0)
CLIP = {"patch_size": 4, "stride_size": 4, "width": 16, "layers": 1, "heads": 2}
CAMERA = {"patch_size": 4, "stride_size": 4, "embed_dim": 16, "depth": 1}
CAMERA |= {"num_heads": 2}
SWIN = {"patch_size": 2, "embed_dim": 8, "depths": (2, 1), "num_heads": (1, 2)}


def state_of(name, **arguments):
    model = models.create(name, **arguments)
    variables = drawn_variables(model, *model.example_inputs(1))
    return model, convert.to_torch(model, variables)


def at_places(state, key, rows, columns, before=1):
    """The state, the position of the place (i, j) of a grid being (i, j, 0, ...)."""
    shape = (*state[key].shape[:-2], before + rows * columns, state[key].shape[-1])
    positions = np.zeros(shape, np.float32)
    places = [(i, j) for i in range(rows) for j in range(columns)]
    positions[..., before:, :2] = places
    return state | {key: positions}


def corners(positions, rows, columns):
    """What is said to be in the top right corner, and in the bottom left."""
    grid = np.asarray(positions).reshape(-1, positions.shape[-1])[-rows * columns :]
    grid = grid.reshape(rows, columns, -1)
    return grid[0, -1, :2].tolist() + grid[-1, 0, :2].tolist()


KINDS = {  # model, arguments for 8 x 2 patches, key of its positions
    "clip_vit": (CLIP | {"h_resolution": 8, "w_resolution": 2}, "positional_embedding"),
    "camera_vit": (CAMERA | {"img_size": (32, 8)}, "pos_embed"),
    "vit_tiny_patch16": (TINY | {"img_size": (32, 8)}, "pos_embed"),
    "t2t_vit_t_14": (
        {"img_size": (128, 32), "embed_dim": 16, "depth": 1, "num_heads": 2},
        "pos_embed",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_square_of_as_many_positions_is_turned(name):
    """16 positions of a 4 x 4 grid, for a model of 8 x 2."""
    arguments, key = KINDS[name]
    model, state = state_of(name, **arguments)
    fitted, notes = fit_positions(model, at_places(state, key, 4, 4))
    right = corners(fitted[key], 8, 2)
    np.testing.assert_allclose(right, [0, 2.5, 3, 0.5], atol=0.3)  # bicubic overshoots
    assert f"{key}: resized from 4 x 4 to 8 x 2" in notes[0]
    assert len(notes) == 1


@pytest.mark.parametrize("name", KINDS)
def test_a_grid_that_is_given_is_believed(name):
    """The same 16 are of 8 x 2, or of 2 x 8, if that is said."""
    arguments, key = KINDS[name]
    model, state = state_of(name, **arguments)
    file = at_places(state, key, 8, 2)
    fitted, notes = fit_positions(model, file, (8, 2))
    np.testing.assert_array_equal(fitted[key], file[key])
    assert notes == ()
    fitted, notes = fit_positions(model, at_places(state, key, 2, 8), (2, 8))
    right = corners(fitted[key], 8, 2)
    np.testing.assert_allclose(right, [0, 5.5, 1, 1.5], atol=0.5)
    assert "resized from 2 x 8 to 8 x 2" in notes[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_grid_of_other_places_is_refused(name):
    model, state = state_of(name, **KINDS[name][0])
    with pytest.raises(convert.ConversionError, match=r"not of a grid of 3 x 3 patch"):
        fit_positions(model, state, (3, 3))


def test_16_x_4_is_not_taken_for_8_x_8_if_that_is_said():
    grid = {"h_resolution": 8, "w_resolution": 8}
    model, state = state_of("clip_vit", **CLIP, **grid)
    key = "positional_embedding"
    file = at_places(state, key, 16, 4)
    loaded = load_pretrained(model, file, KEY, source_grid=(16, 4))
    found = np.asarray(loaded["params"][key])
    np.testing.assert_array_equal(found, resize(file[key], (16, 4), (8, 8)))
    np.testing.assert_allclose(corners(found, 8, 8), [0.5, 3, 14.5, 0], atol=1e-6)


def test_positions_of_no_square_need_their_grid():
    """8 positions may be of 4 x 2 or of 2 x 4."""
    grid = {"h_resolution": 4, "w_resolution": 2}
    model, state = state_of("clip_vit", **CLIP, **grid)
    with pytest.raises(convert.ConversionError, match="--source_grid=4x2 if it is"):
        load(model, state, KEY)
    _, notes = fit_positions(model, state, sure=False)
    assert notes == ("positional_embedding: taken for the model's own 4 x 2",)
    turned = load(model, state, KEY, source_grid=(2, 4)).variables
    told = load(model, state, KEY, source_grid=(4, 2)).variables
    own = load_pretrained(model, state, KEY)
    jax.tree.map(np.testing.assert_array_equal, own, told)
    name = "positional_embedding"
    assert np.abs(turned["params"][name] - told["params"][name]).max() > 0.1


@pytest.mark.parametrize("name", KINDS)
def test_our_own_weights_come_back_whatever_the_grid(name):
    model, state = state_of(name, **KINDS[name][0])
    back = convert.to_torch(model, convert.from_torch(model, state))
    for key, expected in state.items():
        np.testing.assert_array_equal(back[key], expected, err_msg=key)


@pytest.mark.parametrize("name", ["vdpa", "vit", "dynamic_vit", "linear_vit"])
def test_classifiers_of_squares_at_another_size(name):
    small = TINY | {"num_classes": 3}
    model, _ = state_of(name, **small | {"img_size": 24})
    _, file = state_of(name, **small)
    loaded = load(model, file, KEY)
    path = next(iter(model.places())).split("/")[-1]
    before = model.places()[f"params/{path}"].before
    expected = resize(file[path], (4, 4), (6, 6), "bicubic_antialias", before)
    np.testing.assert_array_equal(loaded.variables["params"][path], expected)
    assert any("resized from 4 x 4 to 6 x 6" in note for note in loaded.notes)


def test_windows_of_other_sides_are_no_windows():
    """Tables of 3 x 4 and of 4 x 3 places have as many rows."""
    tall = SWIN | {"img_size": (6, 8), "window_size": 4}
    wide = SWIN | {"img_size": (8, 6), "window_size": 4}
    model, _ = state_of("swin_tiny", **tall)
    _, file = state_of("swin_tiny", **wide)
    key = "layers.0.blocks.0.attn.relative_position_bias_table"
    assert file[key].shape == (35, 1)
    with pytest.raises(convert.ConversionError, match="which grid of patches layers"):
        load(model, file, KEY)
    loaded = load(model, file, KEY, source_grid=(4, 3))
    block = loaded.variables["params"]["layers_0_blocks_0"]["attn"]
    expected = resize(file[key], (7, 5), (5, 7), "bicubic", before=0)
    found = block["relative_position_bias_table"]
    np.testing.assert_array_equal(found, expected)


def test_published_windows_are_fitted_to_a_smaller_image():
    model, _ = state_of("swin_tiny", **SWIN, img_size=8, window_size=4)
    _, file = state_of("swin_tiny", **SWIN, img_size=16, window_size=4)
    loaded = load(model, file, KEY)
    key = "layers.1.blocks.0.attn.relative_position_bias_table"
    assert file[key].shape == (49, 2)
    assert loaded.notes == (f"{key}: resized from 7 x 7 to 3 x 3 (bicubic)",)
    convert.to_torch(model, loaded.variables)
