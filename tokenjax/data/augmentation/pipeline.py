"""Normalisation and augmentation on the device, inside jit, from a key.

    normalised = (image / 255 - mean) / std

Augmentations act on float32 images in 0..1, before normalisation, in this order: random
resized crop; one bilinear resampling for rotation, scale and shift; crop; flip;
RandAugment; brightness, contrast, saturation (as torchvision.transforms defines them);
cutout; random erasing.
Every image of a batch has its own draws. What is switched off is not traced at all.

Mixup and cutmix are settings here too, but pair images and labels: see
`tokenjax.data.augmentation.mixing`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, UInt8

from tokenjax.arguments import (
    NOT_NEGATIVE,
    SHARE,
    above,
    at_least,
    check_all,
    describe,
)
from tokenjax.data.augmentation.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
)
from tokenjax.data.augmentation.geometry import Images, affine, translate
from tokenjax.data.augmentation.holes import cut_out, erase
from tokenjax.data.augmentation.rand_augment import MAXIMUM_MAGNITUDE, rand_augment
from tokenjax.data.augmentation.resized_crop import random_resized_crop
from tokenjax.errors import UserError

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
    "random_resized_crop",
)

Strength = Annotated[float, SHARE]
Probability = Annotated[float, SHARE]
Concentration = Annotated[float, NOT_NEGATIVE]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far each augmentation may go; 0 or False switches it off.

    Raises: UserError for a value that does not fit.
    """

    rotation: Annotated[float, at_least(0, 180), "degrees, either way"] = 0.0
    scale: Annotated[float, at_least(0, 0.99), "factor in [1 - scale, 1 + scale]"] = 0.0
    shift: Annotated[float, NOT_NEGATIVE, "pixels, either way, not rounded"] = 0.0
    crop_padding: Annotated[int, NOT_NEGATIVE, "pixels, either way, whole ones"] = 0
    horizontal_flip: Annotated[bool, "with probability 1/2"] = False
    brightness: Annotated[Strength, "factor in [1 - brightness, 1 + brightness]"] = 0.0
    contrast: Annotated[Strength, "factor in [1 - contrast, 1 + contrast]"] = 0.0
    saturation: Annotated[Strength, "factor in [1 - saturation, 1 + saturation]"] = 0.0
    cutout: Annotated[int, NOT_NEGATIVE, "side of the square hole, pixels"] = 0
    cutout_holes: Annotated[int, NOT_NEGATIVE, "holes of cutout in an image"] = 1
    random_erasing: Annotated[
        Probability, "of one rectangle set to the mean, after cutout"
    ] = 0.0
    rand_augment: Annotated[int, NOT_NEGATIVE, "operations on each image"] = 0
    rand_augment_magnitude: Annotated[
        float, at_least(0, MAXIMUM_MAGNITUDE), "how strong they are, of 30"
    ] = 9.0
    mixup: Annotated[
        Concentration, "alpha of Beta(alpha, alpha), a batch's share of own labels"
    ] = 0.0
    mixup_probability: Annotated[Probability, "of mixing a batch so"] = 0.5
    cutmix: Annotated[Concentration, "alpha, likewise"] = 0.0
    cutmix_probability: Annotated[Probability, "where mixup was not chosen"] = 0.5
    random_resized_crop: Annotated[
        float, SHARE, "least share of the area, of a box that is enlarged; 0: off"
    ] = 0.0
    random_resized_crop_aspect: Annotated[
        tuple[float, float], above(0), "its width over height, smallest and largest"
    ] = (3 / 4, 4 / 3)
    cutout_even: Annotated[
        bool, "an odd side of cutout is one pixel less, as in CIFAR-ViT"
    ] = False

    def __post_init__(self) -> None:
        for name, argument in describe(type(self)).items():
            argument.check(getattr(self, name), f"augmentation {name}")
        smallest, largest = self.random_resized_crop_aspect
        if smallest > largest:
            raise UserError(
                "augmentation random_resized_crop_aspect must be the smallest and the "
                f"largest, got {smallest:g}, {largest:g}"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Augmentation":
        """Read a mapping.

        Raises: UserError for an unknown name or a bad value.
        """
        return cls(**check_all(config, cls, "augmentation", "augmentation "))


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

    if settings.random_resized_crop:
        least = settings.random_resized_crop
        aspects = settings.random_resized_crop_aspect
        draws = stream("random_resized_crop")
        images = random_resized_crop(draws, images, least, aspects)
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
            centre, even = centres[:, hole], settings.cutout_even
            images = cut_out(images, centre, settings.cutout, fill, even)
    if settings.random_erasing:
        probability = settings.random_erasing
        images = erase(stream("random_erasing"), images, probability, fill)
    return images
