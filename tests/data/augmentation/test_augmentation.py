import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from tokenjax.data.augmentation import pipeline as augmentation
from tokenjax.data.augmentation.pipeline import Augmentation, augment, normalize
from tokenjax.errors import UserError

KEY = jax.random.key(0)


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_normalize_follows_its_formula():
    images = np.arange(256, dtype=np.uint8).reshape(1, 8, 16, 2)
    result = normalize(images, (0.5, 0.2), (0.25, 0.1))
    expected = (images / 255 - [0.5, 0.2]) / [0.25, 0.1]
    assert result.dtype == jnp.float32
    assert np.allclose(result, expected, atol=1e-6)
    assert normalize(images, (0, 0), (1, 1), jnp.bfloat16).dtype == jnp.bfloat16


def test_all_off_is_the_identity_and_traces_nothing():
    images = random_images(2, 5, 5, 3)
    assert augment(KEY, images, Augmentation()) is images
    traced = jax.make_jaxpr(lambda k, x: augment(k, x, Augmentation()))(KEY, images)
    assert not traced.eqns


def test_compiles_once_and_is_a_function_of_the_key():
    everything = Augmentation(15, 0.1, 2, 2, True, 0.3, 0.3, 0.3, 4)
    traces = []

    @jax.jit
    def run(key, images):
        traces.append(None)
        return augment(key, images, everything)

    images = random_images(6, 12, 14, 3)
    first, again = run(KEY, images), run(KEY, images)
    other = run(jax.random.key(1), images)
    assert len(traces) == 1
    assert first.shape == images.shape
    assert first.dtype == jnp.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 0 <= first.min() <= first.max() <= 1


def test_each_image_has_its_own_draws():
    one = random_images(1, 9, 9, 3)
    images = np.repeat(one, 8, axis=0)
    for setting in ({"rotation": 20.0}, {"brightness": 0.5}, {"cutout": 3}):
        result = np.asarray(augment(KEY, images, Augmentation(**setting)))
        assert len(np.unique(result.reshape(8, -1), axis=0)) > 4, setting


def test_one_setting_does_not_change_the_draws_of_another():
    images = random_images(4, 8, 8, 3)
    flipped = augment(KEY, images, Augmentation(horizontal_flip=True))
    both = augment(KEY, images, Augmentation(horizontal_flip=True, cutout=2), -1.0)
    kept = np.asarray(both) != -1
    assert np.array_equal(np.asarray(both)[kept], np.asarray(flipped)[kept])


@settings(max_examples=25, deadline=None)
@given(st.floats(-180, 180), st.floats(0.6, 1.5), st.floats(-6, 6), st.floats(-6, 6))
def test_affine_is_scipys(angle, scale, down, right):
    images = random_images(1, 13, 18, 2)
    shift = np.array([[down, right]], np.float32)
    result = augmentation.affine(
        images, jnp.array([angle]), jnp.array([scale]), jnp.asarray(shift)
    )
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    inverse = np.array([[cosine, sine], [-sine, cosine]]) / scale
    centre = np.array([6, 8.5])
    offset = centre - inverse @ (centre + shift[0])
    for channel in range(2):
        expected = ndimage.affine_transform(
            images[0, ..., channel], inverse, offset, order=1, mode="grid-constant"
        )
        assert np.allclose(result[0, ..., channel], expected, atol=1e-4)


def test_rotation_turns_as_pillow_does():
    image = random_images(21, 21)
    result = augmentation.affine(
        image[None, ..., None], jnp.array([30.0]), jnp.ones(1), jnp.zeros((1, 2))
    )
    expected = Image.fromarray(image).rotate(30, Image.Resampling.BILINEAR)
    inside = slice(5, -5)
    difference = np.asarray(result)[0, ..., 0] - np.asarray(expected)
    assert np.abs(difference[inside, inside]).max() < 1e-5


def test_translation_moves_whole_pixels_and_fills_with_zero():
    images = random_images(3, 6, 7, 2) + 0.1
    offsets = jnp.array([[0, 0], [2, -1], [-2, 2]])
    result = augmentation.translate(images, offsets, 2)
    assert np.array_equal(result[0], images[0])
    assert np.array_equal(result[1, 2:, :-1], images[1, :-2, 1:])
    assert not np.any(result[1, :2])
    assert not np.any(result[1, :, -1:])
    assert np.array_equal(result[2, :-2, 2:], images[2, 2:, :-2])


def test_flip_is_an_involution_and_flips_half():
    images = random_images(400, 3, 4, 1)
    settings_ = Augmentation(horizontal_flip=True)
    once = np.asarray(augment(KEY, images, settings_))
    assert np.array_equal(augment(KEY, once, settings_), images)
    same = (once == images).all(axis=(1, 2, 3))
    assert np.array_equal(once[~same], images[~same][:, :, ::-1])
    assert 150 < same.sum() < 250


def test_jitter_follows_torchvisions_formulas():
    images = random_images(2, 5, 6, 3)
    factors = jnp.array([0.6, 1.4])
    scale = np.array([0.6, 1.4])[:, None, None, None]
    grey = (images @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    mean = grey.mean(axis=(1, 2, 3), keepdims=True)
    for function, other in (
        (augmentation.adjust_brightness, 0),
        (augmentation.adjust_contrast, mean),
        (augmentation.adjust_saturation, grey),
    ):
        expected = np.clip(scale * images + (1 - scale) * other, 0, 1)
        assert np.allclose(function(images, factors), expected, atol=1e-5)


def test_saturation_leaves_grey_images_alone():
    images = random_images(2, 5, 6, 1)
    assert augment(KEY, images, Augmentation(saturation=0.5)) is images


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.floats(0, 0.999), st.floats(0, 0.999))
def test_cutout_is_a_clipped_square_at_its_centre(side, down, right):
    images = random_images(1, 8, 11, 2)
    fill = jnp.array([2.0, 3.0])
    result = augmentation.cut_out(images, jnp.array([[down, right]]), side, fill)
    row, column = int(down * 8), int(right * 11)
    top, left = max(row - side // 2, 0), max(column - side // 2, 0)
    bottom, edge = row - side // 2 + side, column - side // 2 + side
    expected = images.copy()
    expected[0, top:bottom, left:edge] = [2.0, 3.0]
    assert np.array_equal(result, expected)


def test_settings_come_from_a_mapping():
    expected = Augmentation(rotation=10, cutout=8)
    assert Augmentation.from_config({"rotation": 10, "cutout": 8}) == expected
    assert Augmentation.from_config({}) == Augmentation()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rotations": 10}, "did you mean 'rotation'"),
        ({"rotation": 200}, "rotation must be at least 0 and at most 180, got 200"),
        ({"scale": 1.0}, "scale must be"),
        ({"brightness": -0.1}, "brightness must be"),
        ({"shift": float("nan")}, "shift must be"),
        ({"shift": "2"}, "shift must be"),
        ({"cutout": 1.5}, "cutout must be int, got 1.5"),
        ({"crop_padding": True}, "crop_padding must be"),
        ({"horizontal_flip": 1}, "horizontal_flip must be bool, got 1"),
    ],
)
def test_bad_settings_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        Augmentation.from_config(config)
