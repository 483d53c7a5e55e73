import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.data import Augmentation, augment
from tokenjax.data.augmentation.holes import erase

KEY = jax.random.key(0)
erase_jitted = jax.jit(erase)


def holes(images: np.ndarray, probability: float, key: jax.Array = KEY) -> np.ndarray:
    """Where `erase` set a pixel, of images whose values are all below 1."""
    erased = erase_jitted(key, images, probability, 1.0)
    return np.asarray(erased == 1).all(axis=3)


def test_erased_rectangles_have_the_area_and_aspect_they_should():
    images = np.zeros((400, 40, 60, 2), np.float32)
    hole = holes(images, 1.0)
    heights, widths = hole.any(axis=2).sum(axis=1), hole.any(axis=1).sum(axis=1)
    assert np.array_equal(hole.sum(axis=(1, 2)), heights * widths)  # one box each
    area, aspect = heights * widths / 2400, heights / widths
    assert 0.015 < area.min() < 0.04
    assert 0.30 < area.max() < 0.345
    assert 0.25 < aspect.min() < 0.4
    assert 2.5 < aspect.max() < 4
    # Log-uniform: as often flat as tall (those too tall for the image drawn again).
    assert 0.35 < (aspect < 1).mean() < 0.65
    for axis, lengths in ((2, heights), (1, widths)):
        first = hole.any(axis=axis).argmax(axis=1)
        assert first.min() == 0
        assert (first + lengths).max() == hole.shape[3 - axis]


def test_each_image_is_erased_with_the_probability():
    images = np.zeros((1000, 16, 16, 1), np.float32)
    assert 0.2 < holes(images, 0.25).any(axis=(1, 2)).mean() < 0.3
    assert not holes(images, 0.0).any()
    # The smallest box of 4 x 4 pixels has a side of 0 now and then, none has two.
    assert not holes(images[:, :1, :1], 1.0).any()


def test_erasing_is_a_function_of_the_key_and_fills_with_fill():
    images = np.random.default_rng(0).random((16, 16, 12, 3), np.float32)
    fill, chosen = jnp.array([0.2, 0.3, 0.4]), Augmentation(random_erasing=1)
    run = jax.jit(lambda key: augment(key, images, chosen, fill))
    result = np.asarray(run(KEY))
    changed = (result != images).any(axis=3)
    assert result.dtype == np.float32
    assert np.allclose(result[changed], fill)
    assert len(np.unique(changed.reshape(16, -1), axis=0)) > 12
    assert np.array_equal(result, run(KEY))
    assert not np.array_equal(result, run(jax.random.key(1)))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_cutout_cuts_as_many_holes_as_it_is_told(count):
    images = np.zeros((100, 30, 30, 1), np.float32)
    chosen = Augmentation(cutout=1, cutout_holes=count)
    cut = np.asarray(augment(KEY, images, chosen, 1.0)).sum(axis=(1, 2, 3))
    assert cut.max() == count
    assert cut.mean() >= 0.95 * count  # two holes rarely are the same pixel


@pytest.mark.parametrize(("even", "side"), [(True, 4), (False, 5)])
def test_an_odd_side_is_cut_as_the_setting_says(even, side):
    images = np.zeros((2000, 7, 9, 1), np.float32)
    chosen = Augmentation(cutout=5, cutout_even=even)
    cut = np.asarray(augment(KEY, images, chosen, 1.0))[..., 0] == 1
    rows, columns = cut.any(axis=2), cut.any(axis=1)
    assert rows.sum(axis=1).max() == columns.sum(axis=1).max() == side
    # A hole ends so far behind its centre, which is any pixel, all as often.
    reach = side - 3
    for along, length in ((rows, 7), (columns, 9)):
        last = length - 1 - along[:, ::-1].argmax(axis=1)
        centre = last[last < length - 1] - reach
        counts = np.bincount(centre)
        assert len(counts) == length - 1 - reach
        assert np.allclose(counts / 2000, 1 / length, atol=0.03)
