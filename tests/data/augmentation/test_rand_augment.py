import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tokenjax.data import Augmentation, augment
from tokenjax.data.augmentation import colour
from tokenjax.data.augmentation.geometry import affine
from tokenjax.data.augmentation.rand_augment import (
    OPERATIONS,
    apply_operations,
    rand_augment,
)

KEY = jax.random.key(0)
STATIC = ("operations", "magnitude")
apply_jitted = jax.jit(apply_operations, static_argnames="magnitude")
rand_augment_jitted = jax.jit(rand_augment, static_argnames=STATIC)


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def each_operation(image: np.ndarray, sign: float, magnitude: float) -> dict:
    """The image after each operation, by its name."""
    count = len(OPERATIONS)
    images, signs = np.stack([image] * count), np.full(count, sign, np.float32)
    results = apply_jitted(images, jnp.arange(count), signs, magnitude=magnitude)
    return dict(zip(OPERATIONS, np.asarray(results), strict=True))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_photometric_operations_have_their_strength(sign):
    image = random_images(1, 16, 18, 3)[0]
    result = each_operation(image, sign, 9.0)
    factor = (jnp.array([1 + 0.9 * 0.3 * sign]),)
    expected = {
        "identity": (lambda images: images, ()),
        "brightness": (colour.adjust_brightness, factor),
        "contrast": (colour.adjust_contrast, factor),
        "saturation": (colour.adjust_saturation, factor),
        "sharpness": (colour.adjust_sharpness, factor),
        "posterize": (lambda images: colour.posterize(images, 7), ()),
        "solarize": (lambda images: colour.solarize(images, 179.2), ()),
        "autocontrast": (colour.autocontrast, ()),
        "equalize": (colour.equalize, ()),
    }
    for name, (function, arguments) in expected.items():
        (image_expected,) = jax.jit(function)(image[None], *arguments)
        assert np.allclose(result[name], image_expected, atol=1e-6), name
        assert name == "identity" or np.abs(result[name] - image).max() > 1e-3, name


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_geometric_operations_have_their_strength(sign):
    image = random_images(1, 22, 30, 1)[0]
    result = each_operation(image, sign, 20.0)
    strength = sign * 20 / 30

    def pillow(*coefficients: float) -> np.ndarray:
        method, filter_ = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        picture = Image.fromarray(image[..., 0])
        return np.asarray(picture.transform((30, 22), method, coefficients, filter_))

    # Pillow's bilinear edge differs: compared where the read pixels are well inside.
    shear = 0.3 * strength
    for name, coefficients in (
        ("shear_x", (1, shear, 0, 0, 1, 0)),
        ("shear_y", (1, 0, 0, shear, 1, 0)),
    ):
        inside = np.s_[7:-7, 6:-6]
        expected = pillow(*coefficients)[inside]
        assert np.allclose(result[name][..., 0][inside], expected, atol=2e-3), name
        assert np.abs(image[..., 0][inside] - expected).max() > 0.1
    angle = jnp.array([30 * strength])
    turned = jax.jit(affine)(image[None], angle, jnp.ones(1), jnp.zeros((1, 2)))[0]
    assert np.allclose(result["rotate"], turned, atol=1e-5)
    for name, axis, side in (("translate_y", 0, 22), ("translate_x", 1, 30)):
        moved = int(150 / 331 * side * strength)
        expected = np.roll(image, moved, axis)
        blank = slice(moved) if moved > 0 else slice(moved, None)
        expected[(slice(None),) * axis + (blank,)] = 0
        assert np.array_equal(result[name], expected), name


def test_magnitude_0_leaves_images_as_they_were():
    image = random_images(1, 12, 10, 3)[0]
    image[0, 0] = 1  # white stays white
    for sign in (-1.0, 1.0):
        result = each_operation(image, sign, 0.0)
        for name in set(OPERATIONS) - {"posterize", "autocontrast", "equalize"}:
            assert np.allclose(result[name], image, atol=1e-6), name
        assert np.abs(result["posterize"] - image).max() <= 0.5001 / 255
        for name in OPERATIONS[:6]:  # nothing is resampled
            assert np.array_equal(result[name], image), name


def test_every_image_draws_its_own_operations_and_sign():
    # At least 256 pixels: equalize leaves smaller images as they are.
    images = np.repeat(random_images(1, 16, 17, 3), 600, axis=0)
    one = rand_augment_jitted(KEY, images, operations=1, magnitude=12.0)
    kinds, counts = np.unique(
        np.asarray(one).reshape(600, -1), axis=0, return_counts=True
    )
    # Nine with a sign, five without; 600/14 images each.
    assert len(kinds) == 9 * 2 + 5
    assert counts.max() < 75
    assert (counts >= 20).sum() >= 5
    two = rand_augment_jitted(KEY, images, operations=2, magnitude=12.0)
    assert len(np.unique(np.asarray(two).reshape(600, -1), axis=0)) > 150


@pytest.mark.parametrize("shape", [(32, 11, 9, 3), (32, 28, 28, 1), (32, 2, 1, 3)])
@pytest.mark.parametrize("magnitude", [0.0, 30.0])
def test_results_are_images_of_the_same_shape(shape, magnitude):
    images = np.round(random_images(*shape), 1)
    result = rand_augment_jitted(KEY, images, operations=3, magnitude=magnitude)
    assert result.shape == images.shape
    assert result.dtype == jnp.float32
    assert np.isfinite(result).all()
    assert 0 <= result.min() <= result.max() <= 1


def test_compiles_once_and_is_a_function_of_the_key():
    chosen = Augmentation(rand_augment=2, rand_augment_magnitude=9)
    traces = []

    @jax.jit
    def run(key, images):
        traces.append(None)
        return augment(key, images, chosen)

    images = random_images(16, 12, 14, 3)
    first, again = run(KEY, images), run(KEY, images)
    other = run(jax.random.key(1), images)
    assert len(traces) == 1
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    changed = (np.asarray(first) != images).any(axis=(1, 2, 3))
    assert changed.sum() > 10


def test_other_draws_stay_when_it_is_switched_on():
    images = random_images(8, 9, 9, 3) * 0.9
    alone = augment(KEY, images, Augmentation(cutout=3), 1.0)
    both = augment(KEY, images, Augmentation(cutout=3, rand_augment=1), 1.0)
    holes = np.asarray(alone) == 1
    assert holes.any()
    assert (np.asarray(both)[holes] == 1).all()
