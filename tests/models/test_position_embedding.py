"""Position embeddings resized: recorded numbers and properties."""

import jax
import numpy as np
import pytest

from tokenjax.models.position_embedding import resize


def draw(rows, columns, dim=3):
    generator = np.random.default_rng(0)
    return generator.normal(size=(1, 1 + rows * columns, dim)).astype(np.float32)


def test_the_recorded_one(golden, assert_close):
    case = golden("demo/pos_embed_resize")
    resized = resize(case["input/pos_embed"], (14, 14), (16, 8))
    assert_close(resized, case["output/resized"], 1e-6, "resized")
    assert resized.dtype == np.float32


@pytest.mark.parametrize("grid", [(16, 8), (3, 20), (1, 1), (14, 5)])
def test_as_jax_image_without_antialiasing(grid):
    embedding = draw(6, 7)
    shape = (1, *grid, 3)
    patches = embedding[:, 1:].reshape(1, 6, 7, 3)
    expected = jax.image.resize(patches, shape, "bilinear", antialias=False)
    resized = resize(embedding, (6, 7), grid)
    np.testing.assert_allclose(resized[:, 1:].reshape(shape), expected, atol=1e-5)
    np.testing.assert_array_equal(resized[:, 0], embedding[:, 0])


METHODS = {
    "bilinear": {"mode": "bilinear"},
    "bicubic": {"mode": "bicubic"},
    "bicubic_antialias": {"mode": "bicubic", "antialias": True},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", [(16, 8), (8, 8), (3, 2), (9, 3), (1, 1), (6, 7)])
def test_every_method_is_pytorchs(method, grid):
    torch = pytest.importorskip("torch")
    embedding = draw(6, 7)
    patches = torch.from_numpy(embedding[:, 1:]).reshape(1, 6, 7, 3)
    expected = torch.nn.functional.interpolate(
        patches.permute(0, 3, 1, 2), size=grid, align_corners=False, **METHODS[method]
    ).permute(0, 2, 3, 1)
    resized = resize(embedding, (6, 7), grid, method)
    expected = expected.reshape(1, -1, 3).numpy()
    np.testing.assert_allclose(resized[:, 1:], expected, atol=3e-6)


def test_rows_of_no_place_stay_in_front_and_behind():
    embedding = draw(4, 4)[0]
    resized = resize(embedding[1:], (3, 5), (2, 2), "bicubic", before=0, after=1)
    assert resized.shape == (5, 3)
    np.testing.assert_array_equal(resized[-1], embedding[-1])
    whole = resize(embedding[:-1], (3, 5), (2, 2), "bicubic")
    np.testing.assert_array_equal(resized[:-1], whole[1:])


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method must be one of bilinear, bicubic"):
        resize(draw(4, 5), (4, 5), (2, 2), "nearest")


def test_the_same_grid_changes_nothing():
    embedding = draw(4, 5)
    np.testing.assert_array_equal(resize(embedding, (4, 5), (4, 5)), embedding)


def test_a_constant_stays_and_a_slope_stays_one():
    constant = np.full((1 + 12, 2), 3.5, np.float32)
    np.testing.assert_allclose(resize(constant, (3, 4), (7, 5)), 3.5, rtol=1e-6)
    slope = np.concatenate([[0], np.tile(np.arange(4.0), 3)])[:, None]
    rows = resize(slope, (3, 4), (3, 8))[1:].reshape(3, 8)
    np.testing.assert_allclose(rows[:, 1:-1], np.tile(np.arange(6) / 2 + 0.25, (3, 1)))


def test_a_grid_that_is_not_its_own():
    with pytest.raises(ValueError, match=r"of a 4 x 4 grid is \(\.\.\., 17, dim\)"):
        resize(draw(4, 5), (4, 4), (2, 2))
