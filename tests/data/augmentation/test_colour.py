"""Held to Pillow's ImageOps and ImageEnhance, which RandAugment's authors use."""

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tokenjax.data.augmentation import colour

LEVEL = 1 / 255


def pictures(channels: int) -> np.ndarray:
    """8-bit images: noise, a dark ramp, few levels, flat, all but flat."""
    generator = np.random.default_rng(0)
    shape = (24, 31, channels)
    noise = generator.integers(0, 256, shape)
    ramp = np.broadcast_to(np.arange(31)[None, :, None] * 3 + 17, shape)
    few = generator.choice([3, 90, 200], shape)
    flat = np.full(shape, 77)
    spot = flat.copy()
    spot[5, 6] = 200
    return np.stack([noise, ramp, few, flat, spot]).astype(np.uint8)


def by_pillow(function, images: np.ndarray) -> np.ndarray:
    results = []
    for image in images:
        picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        results.append(np.asarray(function(picture)).reshape(image.shape))
    return np.stack(results) / 255


CASES = [
    ("posterize", 8, 0),
    ("posterize", 4, 0),
    ("solarize", 256, 0),
    ("solarize", 77, 0),
    ("solarize", 179.2, 0),
    ("equalize", None, 0),
    ("autocontrast", None, LEVEL),  # Pillow cuts the levels off
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "argument", "tolerance"), CASES)
def test_operations_are_pillows(name, argument, tolerance, channels):
    images = pictures(channels)
    arguments = [] if argument is None else [argument]
    function = jax.jit(
        getattr(colour, name), static_argnums=range(1, 1 + len(arguments))
    )
    result = function(images.astype(np.float32) / 255, *arguments)
    operation = getattr(ImageOps, name)
    expected = by_pillow(lambda picture: operation(picture, *arguments), images)
    assert result.shape == images.shape
    assert result.dtype == np.float32
    assert np.abs(result - expected).max() <= tolerance + 1e-6


ENHANCERS = [
    (colour.adjust_brightness, ImageEnhance.Brightness),
    (colour.adjust_contrast, ImageEnhance.Contrast),
    (colour.adjust_saturation, ImageEnhance.Color),
    (colour.adjust_sharpness, ImageEnhance.Sharpness),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("ours", "theirs"), ENHANCERS)
def test_enhancements_are_pillows(ours, theirs, channels):
    images = pictures(channels)
    for factor in (0.1, 1.0, 1.9):
        factors = np.full(len(images), factor, np.float32)
        result = ours(images.astype(np.float32) / 255, factors)
        expected = by_pillow(lambda x, f=factor: theirs(x).enhance(f), images)
        # Pillow rounds the other image and then the blend.
        assert np.abs(result - expected).max() <= 1.6 * LEVEL, factor


def test_sharpness_of_images_without_an_inside_changes_nothing():
    for shape in ((2, 2, 5, 3), (2, 1, 1, 1)):
        images = np.random.default_rng(0).random(shape, np.float32)
        result = colour.adjust_sharpness(images, np.array([0.1, 1.9], np.float32))
        assert np.allclose(result, images, atol=1e-6)
