"""Which patches are one token: what is drawn of a reduction, on any grid."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn

from tokenjax import plots
from tokenjax.plots import images as drawing
from tokenjax.plots import look_rows

RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 256, (2, 8, 16, 3), np.uint8)  # 2 x 4 patches of 4 pixels
# Of each image two merged pairs, one pair of them apart, and a dropped patch.
HELD = np.array([[[1, 1, 2, 3], [4, 2, -1, 5]]] * 2).reshape(1, 2, 8)


@pytest.mark.parametrize(
    ("patches", "size", "grid"),
    [
        (49, (28, 28), (7, 7)),
        (196, (224, 224), (14, 14)),
        (128, (256, 128), (16, 8)),
        (210, (224, 240), (14, 15)),
        (7, (10, 70), (1, 7)),
    ],
)
def test_the_grid_is_shaped_as_the_image(patches, size, grid):
    assert drawing.find_grid(patches, size) == grid


def test_what_merged_has_its_mean_colour_and_what_is_dropped_is_faded():
    image = drawing.displayable(WIDE)[0]
    tokens = HELD[0, 0].reshape(2, 4)
    found = drawing.fill_regions(image, tokens)
    pair = image[:4, :8].mean((0, 1))
    np.testing.assert_allclose(found[:4, :8], np.broadcast_to(pair, (4, 8, 3)), 1e-5)
    apart = (image[:4, 8:12].mean((0, 1)) + image[4:, 4:8].mean((0, 1))) / 2
    np.testing.assert_allclose(found[4:, 4:8], np.broadcast_to(apart, (4, 4, 3)), 1e-5)
    np.testing.assert_array_equal(found[:4, 12:], image[:4, 12:])
    dropped = image[4:, 8:12]
    pale = 0.15 * dropped + 0.85 * drawing.DROPPED
    np.testing.assert_allclose(found[4:, 8:12], pale, rtol=1e-5)


def test_lines_run_between_tokens_alone():
    level, upright = drawing.region_edges(np.array([[1, 1, 2], [-1, -1, 2]]))
    assert level.tolist() == [[True, True, False]]
    assert upright.tolist() == [[False, True], [False, True]]


def test_they_are_taken_from_what_a_model_says():
    entry = {"patches": jnp.asarray(HELD[0]), "map": jnp.zeros((2, 9), jnp.int32)}
    looks = plots.collect({"reduction": (None, entry, None, entry)}, 2)
    assert looks["token_regions"].shape == (2, 2, 8)
    assert looks["reducing_blocks"].tolist() == [[1, 1], [3, 3]]
    assert not plots.collect({"reduction": (None, None)}, 2)


def test_the_figure_and_the_rows(tmp_path):
    looks = {"token_regions": HELD, "reducing_blocks": np.array([[3, 3]])}
    (path,) = plots.draw_looks(WIDE, looks, tmp_path)
    assert_drawn(tmp_path / "token_regions.png", path)
    image, regions = plots.draw_rows(WIDE, looks)
    assert regions.label == "block 4:\n5 of 8\ntokens"
    assert regions.pictures.shape == image.pictures.shape
    masks = {**looks, "keep_masks": np.ones((1, 2, 8))}  # they show the same
    assert not plots.draw_looks(WIDE, masks, tmp_path)
    assert look_rows.region_rows(WIDE, looks)
    with pytest.raises(ValueError, match=r"held must be \(2, 2, patches\)"):
        plots.token_regions(WIDE, HELD, [0, 1], tmp_path / "a.png")
