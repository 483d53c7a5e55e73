"""Normalisation and augmentation on the device, inside jit, from a key.

    normalised = (image / 255 - mean) / std

Augmentations act on float32 images in 0..1, before normalisation, in this order: one
bilinear resampling for rotation, scale and shift; crop; flip; RandAugment; brightness,
contrast, saturation (as torchvision.transforms defines them); cutout; random erasing.
Every image of a batch has its own draws. What is switched off is not traced at all.

Mixup and cutmix are settings here too, but pair images and labels: see
`tokenjax.data.augmentation.mixing`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, UInt8

from tokenjax.data.augmentation.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
)
from tokenjax.data.augmentation.geometry import Images, affine, translate
from tokenjax.data.augmentation.holes import cut_out, erase
from tokenjax.data.augmentation.rand_augment import MAXIMUM_MAGNITUDE, rand_augment
from tokenjax.errors import UserError, unknown_name

# The order numbers the random streams: append, and what is on keeps its draws.
DRAWS = (
    "rotation",
    "scale",
    "shift",
    "crop",
    "flip",
    "brightness",
    "contrast",
    "saturation",
    "cutout",
    "rand_augment",
    "random_erasing",
    "mixing",
)
MAXIMUM = {
    "rotation": 180.0,
    "scale": 0.99,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "mixup_probability": 1.0,
    "cutmix_probability": 1.0,
    "random_erasing": 1.0,
    "rand_augment_magnitude": MAXIMUM_MAGNITUDE,
}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Settings of augmentation: how far each may go; 0 or False switches it off."""

    rotation: float = 0.0  # degrees, either way
    scale: float = 0.0  # factor in [1 - scale, 1 + scale]
    shift: float = 0.0  # pixels, either way, not rounded
    crop_padding: int = 0  # pixels, either way, whole ones
    horizontal_flip: bool = False  # with probability 1/2
    brightness: float = 0.0  # factor in [1 - b, 1 + b], and so on
    contrast: float = 0.0
    saturation: float = 0.0
    cutout: int = 0  # side of the square hole, pixels
    cutout_holes: int = 1
    random_erasing: float = 0.0  # probability of one rectangle set to `fill`
    rand_augment: int = 0  # operations on each image
    rand_augment_magnitude: float = 9.0  # of 30
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), a batch's share of own labels
    mixup_probability: float = 0.5
    cutmix: float = 0.0  # alpha
    cutmix_probability: float = 0.5  # where mixup was not chosen

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _check_setting(field.name, value, type(field.default))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Augmentation":
        """Read settings from a mapping; `UserError` for a wrong name or value."""
        valid = [field.name for field in dataclasses.fields(cls)]
        for name in config:
            if name not in valid:
                raise UserError(unknown_name("augmentation", name, valid))
        return cls(**dict(config.items()))


def _check_setting(name: str, value: Any, expected: type) -> None:
    if expected is bool:
        if not isinstance(value, bool):
            raise UserError(f"augmentation {name} must be True or False, got {value!r}")
        return
    accepted = (int, float) if expected is float else int
    limit = MAXIMUM.get(name, math.inf)
    number = isinstance(value, accepted) and not isinstance(value, bool)
    if not number or not 0 <= value <= limit or not math.isfinite(value):
        kind = "a number" if expected is float else "a whole number"
        bound = "from 0" if limit == math.inf else f"from 0 to {limit:g}"
        raise UserError(f"augmentation {name} must be {kind} {bound}, got {value!r}")


def normalize(
    images_uint8: UInt8[Array, "batch height width channels"],
    mean: Sequence[float],
    std: Sequence[float],
    dtype: DTypeLike = jnp.float32,
) -> Images:
    """Return (image / 255 - mean) / std; mean and std (channels,) of images in 0..1."""
    images = images_uint8.astype(jnp.float32) / 255
    return ((images - jnp.asarray(mean)) / jnp.asarray(std)).astype(dtype)


def augment(
    key: jax.Array, images: Images, settings: Augmentation, fill: ArrayLike = 0.0
) -> Images:
    """Augment `images` in 0..1; `fill` () or (channels,) is the colour of holes.

    Pass the dataset's mean as `fill` for holes that are 0 after normalisation. What
    rotation, shift and RandAugment bring in from outside an image is 0 (black).
    """
    batch, _, _, channels = images.shape

    def stream(name: str) -> jax.Array:
        return jax.random.fold_in(key, DRAWS.index(name))

    def uniform(name: str, limit: float, centre: float = 0.0, *shape: int) -> Array:
        low, high = centre - limit, centre + limit
        return jax.random.uniform(
            stream(name), (batch, *shape), minval=low, maxval=high
        )

    if settings.rotation or settings.scale or settings.shift:
        angles = uniform("rotation", settings.rotation)
        scales = uniform("scale", settings.scale, 1.0)
        shifts = uniform("shift", settings.shift, 0.0, 2)
        images = affine(images, angles, scales, shifts)
    if settings.crop_padding:
        limit = settings.crop_padding
        offsets = jax.random.randint(stream("crop"), (batch, 2), -limit, limit + 1)
        images = translate(images, offsets, limit)
    if settings.horizontal_flip:
        flipped = jax.random.bernoulli(stream("flip"), shape=(batch, 1, 1, 1))
        images = jnp.where(flipped, images[:, :, ::-1], images)
    if settings.rand_augment:
        number, magnitude = settings.rand_augment, settings.rand_augment_magnitude
        images = rand_augment(stream("rand_augment"), images, number, magnitude)
    if settings.brightness:
        factors = uniform("brightness", settings.brightness, 1.0)
        images = adjust_brightness(images, factors)
    if settings.contrast:
        images = adjust_contrast(images, uniform("contrast", settings.contrast, 1.0))
    if settings.saturation and channels > 1:
        factors = uniform("saturation", settings.saturation, 1.0)
        images = adjust_saturation(images, factors)
    if settings.cutout:
        centres = uniform("cutout", 0.5, 0.5, settings.cutout_holes, 2)
        for hole in range(settings.cutout_holes):
            images = cut_out(images, centres[:, hole], settings.cutout, fill)
    if settings.random_erasing:
        probability = settings.random_erasing
        images = erase(stream("random_erasing"), images, probability, fill)
    return images
