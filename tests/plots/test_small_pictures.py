"""Pictures and frames drawn as arrays: what is where, and in which colour."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tokenjax.plots import frames, look_rows
from tokenjax.plots import small_pictures as small
from tokenjax.plots.images import DROPPED, FADED

GREY = np.full((2, 64, 64, 3), 128, np.uint8)


def test_small_images_keep_their_edges_and_large_ones_fit():
    images = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    large = small.enlarge(images)
    assert large.shape == (1, 128, 128, 3)
    np.testing.assert_array_equal(large[0, ::32, ::32, 2], images[0, ..., 0])
    assert (large[0, :32, :32] == images[0, 0, 0]).all()
    assert small.enlarge(np.zeros((2, 60, 30, 3), np.uint8)).shape == (2, 120, 60, 3)
    half = small.enlarge(np.full((1, 256, 100, 3), 0.5))
    assert half.shape == (1, 128, 50, 3)
    assert (half == 128).all()


def test_heat_has_the_colours_of_the_figures():
    from matplotlib import colormaps

    values = np.linspace(0, 1, 64).reshape(1, 8, 8)
    drawn = small.heat(GREY[:1], values, 0, 1).astype(float)[0, 4::8, 4::8]
    quiet = 255 * (0.25 + 0.5 * 128 / 255)
    expected = 255 * colormaps["inferno"](values[0])[..., :3] * small.HEAT_SHARE
    assert np.abs(drawn - expected - quiet * (1 - small.HEAT_SHARE)).max() < 14
    hot = small.heat(GREY, np.full((2, 2, 2), 5.0), 5, 5)  # scores all alike
    assert (hot == hot[0, 0, 0]).all()


def test_what_is_not_there_is_faded():
    maps = np.zeros((2, 2, 2))
    maps[0, 0, 1] = np.nan
    drawn = small.heat(GREY, maps, 0, 1)
    quiet = 255 * (0.25 + 0.5 * 128 / 255)
    pale = (1 - FADED) * quiet + FADED * 255 * DROPPED
    np.testing.assert_allclose(drawn[0, :32, 32:].mean((0, 1)), pale, atol=1)
    assert (drawn[1] == drawn[1, 0, 0]).all()


def test_chosen_patches_are_outlined_as_groups_and_others_faded():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, :2, 1:3] = True  # one group of four patches of 16 pixels
    drawn = small.fade(GREY, masks, small.ROUTED)
    line = (drawn == small.ROUTED).all(-1)
    assert not line[1].any()
    inside = np.zeros((64, 64), bool)
    inside[2:30, 18:46] = True
    around = np.zeros((64, 64), bool)
    around[:32, 16:48] = True
    np.testing.assert_array_equal(line[0], around & ~inside)
    assert (drawn[0][inside] == 128).all()
    assert (drawn[0][~around] != 128).all()
    assert (small.fade(GREY, np.ones((2, 2, 2), bool)) == 128).all()


def test_numbers_are_written_where_they_fit():
    maps = np.full((2, 4, 4), 0.25)
    written = small.write_numbers(GREY, maps, 0, 1)  # patches of 16 pixels
    changed = (written != GREY).any(-1).reshape(2, 4, 16, 4, 16)
    assert changed.any(axis=(2, 4)).all()
    assert (written == GREY).all(-1).mean() > 0.5
    assert small.write_numbers(GREY, np.zeros((2, 8, 8)), 0, 1) is None


def test_a_box_is_where_it_is_in_the_image():
    boxes = np.array([[8, 0, 16, 4], [0, 0, 32, 32]])
    drawn = small.draw_boxes(GREY, boxes, (32, 32))
    orange = (drawn[0] == small.BOX).all(-1)
    rows, columns = (np.flatnonzero(orange.any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (16, 31)
    assert (columns[0], columns[-1]) == (0, 7)
    assert small.draw_boxes(GREY, None, (32, 32)) is GREY


def rows_of(looks, **more):
    rows = look_rows.routing_rows(GREY, looks | more)
    return [row.label.split("\n")[0] for row in rows]


def test_rows_of_a_router():
    scores = np.linspace(0, 1, 32).reshape(2, 16)
    looks = {"attention_scores": scores, "mask": scores > 0.75}
    every = ["attention", "to the big", "patch scores"]
    assert rows_of(looks) == every
    threshold = {"threshold": np.full(2, 0.75)}
    assert "threshold\n0.75" in look_rows.routing_rows(GREY, looks | threshold)[2].label
    assert "network: 25%" in look_rows.routing_rows(GREY, looks)[1].label
    # Those of a model that does not route, of many patches, and on no square grid.
    assert rows_of(looks, attention_scores=np.zeros((2, 16))) == every[1:2]
    many = {"attention_scores": np.random.default_rng(0).random((2, 256))}
    assert rows_of(looks, mask=np.ones((2, 256)), **many) == every[:2]
    assert rows_of({"attention_scores": scores[:, :6], "mask": scores[:, :6]}) == []


def test_rows_of_other_models():
    blocks = np.full((5, 2, 16), 1 / 16)
    blocks[4, :, :8], blocks[4, :, 8:] = 1 / 8, 0  # the others are dropped
    labels = [
        row.label.split(",\n")[1]
        for row in look_rows.class_attention_rows(GREY, {"class_attention": blocks})
    ]
    assert labels == ["block 1\n(0 to 2.0×)", "block 5\n(0 to 2.0×)"]
    masks = np.ones((4, 2, 16))
    masks[3, :, :12] = 0
    kept = look_rows.kept_rows(GREY, {"keep_masks": masks})
    assert [row.label for row in kept][::2] == [
        "stage 1:\n100% kept",
        "stage 4:\n25% kept",
    ]
    (pooled,) = look_rows.pooling_rows(GREY, {"alp_shares": blocks[0]})
    assert (pooled.pictures == pooled.pictures[0, 0, 0]).all()
    for draw in (look_rows.class_attention_rows, look_rows.kept_rows):
        key = "keep_masks" if draw is look_rows.kept_rows else "class_attention"
        assert draw(GREY, {key: np.ones((3, 2, 6))}) == []


def test_rows_of_modalities_stand_side_by_side():
    images = {"rgb": GREY[:, :, :32], "tir": GREY[:, :, :32]}
    scores = {name: np.linspace(0.1, 1.5, 16).reshape(2, 8) for name in images}
    masks = {name: np.eye(2, 8) for name in images}
    first, second, third = look_rows.selection_rows(images, scores, masks, (4, 2))
    assert first.label == "rgb\ntir"
    assert first.pictures.shape == (2, 128, 64 + 2 + 64, 3)
    assert (first.pictures[:, :, 64:66] == 255).all()
    assert second.label == "scores\n0.1 to\n1.5"
    assert third.label == "tokens kept:\n12%"
    assert (third.pictures[0, :32, :32] == 128).all()  # the one that is kept
    assert (third.pictures[0, 32:, :64] != 128).all()
    gradients = {name: np.zeros((2, 16, 8)) for name in images}
    rows = look_rows.gradient_rows_by_modality(images, gradients)
    assert [row.pictures.shape for row in rows] == [first.pictures.shape] * 2


def test_a_frame_says_the_step_and_what_was_found():
    rows = [small.Row("image", GREY), small.Row("tall", np.repeat(GREY, 2, axis=1))]
    plain = frames.compose(rows, "step 1")
    frame = frames.compose(rows, "step 1", ["one", "a very long name of a class"])
    assert frame.shape == (plain.shape[0] + frames.CAPTION, *plain.shape[1:])
    assert plain.shape[0] == frames.HEADING + 64 + 128 + 2 * frames.GAP
    assert (plain[:20] != frames.compose(rows, "step 2")[:20]).any()
    left = frames.LABELS
    assert (plain[frames.HEADING :][:64, left : left + 64] == 128).all()
    gap = frame[frames.HEADING : frames.HEADING + frames.CAPTION, left + 64 :]
    assert (gap[:, : frames.GAP] == 255).all(), "a long caption keeps to its column"
    coloured = frames.compose(rows, "", ["a", "b"], [True, False])
    band = coloured[frames.HEADING : frames.HEADING + frames.CAPTION]
    assert (band == frames.RIGHT).all(-1).any()
    assert (band == frames.WRONG).all(-1).any()


@pytest.mark.parametrize("count", [1, 3])
def test_frames_of_any_size_become_one_animation(tmp_path, count):
    shades = (0, 120, 240)
    paths = [tmp_path / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        frames.write(np.full((20 + 10 * number, 40, 3), shades[number], np.uint8), path)
    frames.animate(paths, tmp_path / "all.gif")
    with Image.open(tmp_path / "all.gif") as film:
        shown = [
            np.asarray(each.convert("RGB")) for each in ImageSequence.Iterator(film)
        ]
        film.seek(count - 1)
        assert film.info["duration"] == frames.LAST_MS
    assert [each.shape for each in shown] == [(10 * count + 10, 40, 3)] * count
    for number, each in enumerate(shown):
        assert np.abs(each[: 20 + 10 * number].astype(int) - shades[number]).max() < 3
        assert (each[20 + 10 * number :] == 255).all()
    assert not list(tmp_path.glob("*.tmp"))


def test_they_are_drawn_without_matplotlib(tmp_path):
    code = (
        "import sys, numpy as np; from tokenjax.plots import frames, look_rows; "
        "images = np.zeros((1, 8, 8, 3), np.uint8); "
        "looks = {'attention_scores': np.eye(1, 4), 'mask': np.eye(1, 4)}; "
        "frames.compose(look_rows.routing_rows(images, looks), 'ü'); "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
