"""Normalisation and augmentation on the device, inside jit, from a key.

    normalised = (image / 255 - mean) / std

Augmentations act on float32 images in 0..1, before normalisation, in this order: one
bilinear resampling for rotation, scale and shift; crop; flip; brightness, contrast,
saturation (as torchvision.transforms defines them); cutout. Every image of a batch
has its own draws. What is switched off is not traced at all.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int, UInt8

from tokenjax.errors import UserError, unknown_name

Images = Float[Array, "batch height width channels"]

LUMINANCE = (0.299, 0.587, 0.114)  # red, green, blue (ITU-R BT.601)
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
)
MAXIMUM = {
    "rotation": 180.0,
    "scale": 0.99,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far each augmentation may go; 0 or False switches it off."""

    rotation: float = 0.0  # degrees, either way
    scale: float = 0.0  # factor in [1 - scale, 1 + scale]
    shift: float = 0.0  # pixels, either way, not rounded
    crop_padding: int = 0  # pixels, either way, whole ones
    horizontal_flip: bool = False  # with probability 1/2
    brightness: float = 0.0  # factor in [1 - b, 1 + b], and so on
    contrast: float = 0.0
    saturation: float = 0.0
    cutout: int = 0  # side of the square hole, pixels

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _check_setting(field.name, value, type(field.default))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Augmentation":
        """Settings from a mapping; `UserError` for an unknown name or a bad value."""
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
    """(image / 255 - mean) / std, mean and std (channels,) of images in 0..1."""
    images = images_uint8.astype(jnp.float32) / 255
    return ((images - jnp.asarray(mean)) / jnp.asarray(std)).astype(dtype)


def augment(
    key: jax.Array, images: Images, settings: Augmentation, fill: ArrayLike = 0.0
) -> Images:
    """Augmented `images` in 0..1; `fill` () or (channels,) is cutout's colour.

    Pass the dataset's mean as `fill` for holes that are 0 after normalisation.
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
    if settings.brightness:
        factors = uniform("brightness", settings.brightness, 1.0)
        images = adjust_brightness(images, factors)
    if settings.contrast:
        images = adjust_contrast(images, uniform("contrast", settings.contrast, 1.0))
    if settings.saturation and channels > 1:
        factors = uniform("saturation", settings.saturation, 1.0)
        images = adjust_saturation(images, factors)
    if settings.cutout:
        centres = uniform("cutout", 0.5, 0.5, 2)
        images = cut_out(images, centres, settings.cutout, fill)
    return images


def affine(
    images: Images,
    angles: Float[Array, " batch"],
    scales: Float[Array, " batch"],
    shifts: Float[Array, "batch 2"],
) -> Images:
    """Images turned, scaled and shifted about their centre, bilinearly, 0 outside.

    `angles` in degrees, counter-clockwise as seen; `scales` > 1 enlarges; `shifts` in
    pixels (down, right). Each pixel is read where the inverse map puts it.
    """
    batch, height, width, channels = images.shape
    radians = jnp.deg2rad(angles)[:, None, None]
    cosine, sine = jnp.cos(radians), jnp.sin(radians)  # (batch, 1, 1)
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    row = jnp.arange(height)[:, None] - middle_row - shifts[:, :1, None]
    column = jnp.arange(width)[None, :] - middle_column - shifts[:, 1:, None]
    row, column = row / scales[:, None, None], column / scales[:, None, None]
    source_row = cosine * row + sine * column + middle_row  # (batch, height, width)
    source_column = cosine * column - sine * row + middle_column

    # A border of zeros makes the neighbours outside readable without a mask.
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    top = jnp.clip(jnp.floor(source_row), -1, height - 1)
    left = jnp.clip(jnp.floor(source_column), -1, width - 1)
    down = jnp.clip(source_row - top, 0, 1)  # beyond the border: that border alone
    right = jnp.clip(source_column - left, 0, 1)
    stride = width + 2
    corner = ((top + 1) * stride + left + 1).astype(jnp.int32)  # (batch, h, w)
    flat = padded.reshape(batch, -1, channels)

    def neighbour(offset: int) -> Images:
        index = (corner + offset).reshape(batch, -1)
        picked = jax.vmap(lambda image, at: image.at[at].get(mode="clip"))(flat, index)
        return picked.reshape(images.shape)

    down, right = down[..., None], right[..., None]
    upper = neighbour(0) * (1 - right) + neighbour(1) * right
    lower = neighbour(stride) * (1 - right) + neighbour(stride + 1) * right
    return upper * (1 - down) + lower * down


def translate(images: Images, offsets: Int[Array, "batch 2"], limit: int) -> Images:
    """Images moved by whole pixels (down, right) within +-limit, 0 where nothing is."""
    _, height, width, channels = images.shape
    border = (limit, limit)
    padded = jnp.pad(images, ((0, 0), border, border, (0, 0)))

    def window(image: Array, offset: Array) -> Array:
        start = (limit - offset[0], limit - offset[1], 0)
        return jax.lax.dynamic_slice(image, start, (height, width, channels))

    return jax.vmap(window)(padded, offsets)


def grey(images: Images) -> Float[Array, "batch height width 1"]:
    """Luminance of three channels; the mean of any other number of them."""
    if images.shape[-1] == 3:
        weights = jnp.asarray(LUMINANCE, images.dtype)
        # Not a matrix product: accelerators round those to fewer bits.
        return (images * weights).sum(axis=-1, keepdims=True)
    return images.mean(axis=-1, keepdims=True)


def _blend(images: Images, other: Array, factors: Float[Array, " batch"]) -> Images:
    factors = factors[:, None, None, None]
    return jnp.clip(factors * images + (1 - factors) * other, 0, 1)


def adjust_brightness(images: Images, factors: Float[Array, " batch"]) -> Images:
    """factor * image, clipped to 0..1."""
    return _blend(images, jnp.zeros((), images.dtype), factors)


def adjust_contrast(images: Images, factors: Float[Array, " batch"]) -> Images:
    """factor * image + (1 - factor) * mean of its grey image, clipped to 0..1."""
    return _blend(images, grey(images).mean(axis=(1, 2, 3), keepdims=True), factors)


def adjust_saturation(images: Images, factors: Float[Array, " batch"]) -> Images:
    """factor * image + (1 - factor) * its grey image, clipped to 0..1."""
    return _blend(images, grey(images), factors)


def cut_out(
    images: Images, centres: Float[Array, "batch 2"], side: int, fill: ArrayLike
) -> Images:
    """A square of `side` pixels set to `fill`, cut off at the image's border.

    `centres` in 0..1 pick the pixel (row, column) at the middle of the hole.
    """
    _, height, width, _ = images.shape
    size = jnp.asarray([height, width])
    first = jnp.floor(centres * size).astype(jnp.int32) - side // 2  # (batch, 2)
    row, column = jnp.arange(height), jnp.arange(width)
    in_rows = (row >= first[:, :1]) & (row < first[:, :1] + side)  # (batch, height)
    in_columns = (column >= first[:, 1:]) & (column < first[:, 1:] + side)
    hole = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return jnp.where(hole, jnp.asarray(fill, images.dtype), images)
