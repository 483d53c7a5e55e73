"""Random resized crop: what it reads, and the boxes it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.data.augmentation.geometry import zoom
from tokenjax.data.augmentation.pipeline import Augmentation, augment
from tokenjax.data.augmentation.resized_crop import draw_boxes
from tokenjax.errors import UserError

KEY = jax.random.key(0)
ASPECTS = (3 / 4, 4 / 3)


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 8), st.integers(0, 11), st.integers(1, 9), st.integers(1, 12))
def test_a_box_is_enlarged_as_pytorch_does(top, left, rows, columns):
    torch = pytest.importorskip("torch")
    rows, columns = min(rows, 9 - top), min(columns, 12 - left)
    images = random_images(1, 9, 12, 2)
    box = images[0, top : top + rows, left : left + columns].transpose(2, 0, 1)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(box.copy())[None], (9, 12), mode="bilinear", antialias=True
    )
    found = zoom(images, jnp.array([[top, left]]), jnp.array([[rows, columns]]))
    np.testing.assert_allclose(
        found[0].transpose(2, 0, 1), expected[0].numpy(), atol=1e-5
    )


def test_the_whole_image_is_itself_bit_for_bit():
    images = random_images(3, 7, 10, 3)
    found = zoom(images, jnp.zeros((3, 2), jnp.int32), jnp.array([[7, 10]] * 3))
    assert np.array_equal(found, images)
    square = random_images(5, 8, 8, 1)
    on = Augmentation(random_resized_crop=1.0, random_resized_crop_aspect=(1.0, 1.0))
    assert np.array_equal(augment(KEY, square, on), square)


def torchvisions_sides(count, height, width, least, aspects):
    """Sides of boxes as RandomResizedCrop.get_params draws them, one by one."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(count):
        for _ in range(10):
            area = height * width * random.uniform(least, 1)
            aspect = np.exp(random.uniform(*np.log(aspects)))
            columns = round(np.sqrt(area * aspect))
            rows = round(np.sqrt(area / aspect))
            if 0 < columns <= width and 0 < rows <= height:
                found.append((rows, columns))
                break
    assert len(found) > 0.99 * count  # else the middle is taken
    return np.array(found)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 70)])
def test_boxes_lie_within_and_are_spread_as_said(height, width):
    count = 4000
    corners, sides = draw_boxes(KEY, count, (height, width), 0.2, ASPECTS)
    corners, sides = np.asarray(corners), np.asarray(sides)
    assert (corners >= 0).all()
    assert (sides >= 1).all()
    assert (corners + sides <= (height, width)).all()
    aspects = sides[:, 1] / sides[:, 0]
    assert (aspects > 0.70).all()
    assert (aspects < 1.43).all()
    areas = sides.prod(axis=1) / (height * width)
    assert areas.min() > 0.18
    expected = torchvisions_sides(count, height, width, 0.2, ASPECTS)
    shares = [0.1, 0.25, 0.5, 0.75, 0.9]
    for of in (
        lambda x: x.prod(axis=1) / (height * width),
        lambda x: x[:, 1] / x[:, 0],
    ):
        ours, theirs = (np.quantile(of(each), shares) for each in (sides, expected))
        np.testing.assert_allclose(ours, theirs, atol=0.03)
    room = np.array([height, width]) - sides
    places = (corners / np.maximum(room, 1))[(room > 8).all(axis=1)]
    np.testing.assert_allclose(places.mean(axis=0), 0.5, atol=0.03)


def test_what_never_fits_is_the_middle():
    corners, sides = draw_boxes(KEY, 2, (10, 40), 1.0, (1.0, 1.5))
    assert (np.asarray(sides) == (10, 15)).all()
    assert (np.asarray(corners) == (0, 12)).all()
    corners, sides = draw_boxes(KEY, 2, (40, 10), 1.0, (0.5, 1.0))
    assert (np.asarray(sides) == (20, 10)).all()
    assert (np.asarray(corners) == (10, 0)).all()


def test_in_the_pipeline():
    images = np.repeat(random_images(1, 32, 32, 3), 8, axis=0)
    on = Augmentation(random_resized_crop=0.3)
    first, again = (jax.jit(augment, static_argnums=2)(KEY, images, on) for _ in "ab")
    assert np.array_equal(first, again)
    assert len(np.unique(np.asarray(first).reshape(8, -1), axis=0)) > 5
    assert images.min() <= first.min() <= first.max() <= images.max()
    # What is on besides keeps its draws.
    erased = Augmentation(cutout=4)
    both = Augmentation(cutout=4, random_resized_crop=0.3)
    holes = np.asarray(augment(KEY, images, erased, -1.0)) == -1
    assert np.array_equal(np.asarray(augment(KEY, images, both, -1.0)) == -1, holes)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"random_resized_crop": 1.5}, "random_resized_crop must be"),
        ({"random_resized_crop_aspect": (0.0, 1.0)}, "crop_aspect must be above 0"),
        ({"random_resized_crop_aspect": (1.0,)}, "random_resized_crop_aspect must be"),
        ({"random_resized_crop_aspect": (2.0, 0.5)}, "smallest and the largest, got 2"),
    ],
)
def test_bad_settings_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        Augmentation.from_config(config)
