"""Colours of image batches in 0..1, pixel by pixel but for sharpness.

    blend:  clip(factor * image + (1 - factor) * other, 0, 1)

with other = 0 for brightness, the mean of the grey image for contrast, the grey image
for saturation (as torchvision.transforms defines them) and the smoothed image for
sharpness. Posterize, solarize, autocontrast and equalize are those of Pillow's ImageOps
(which RandAugment's authors use): what counts 8-bit levels rounds to them first.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from tokenjax.data.augmentation.geometry import Images

LUMINANCE = (0.299, 0.587, 0.114)  # red, green, blue (ITU-R BT.601)


def grey(images: Images) -> Float[Array, "batch height width 1"]:
    """Return the luminance of three channels; the mean of any other number of them."""
    if images.shape[-1] == 3:
        weights = jnp.asarray(LUMINANCE, images.dtype)
        # Not a matrix product: accelerators round those to fewer bits.
        return (images * weights).sum(axis=-1, keepdims=True)
    return images.mean(axis=-1, keepdims=True)


def _blend(images: Images, other: Array, factors: Float[Array, " batch"]) -> Images:
    factors = factors[:, None, None, None]
    return jnp.clip(factors * images + (1 - factors) * other, 0, 1)


def adjust_brightness(images: Images, factors: Float[Array, " batch"]) -> Images:
    """Return factor * image, clipped to 0..1."""
    return _blend(images, jnp.zeros((), images.dtype), factors)


def adjust_contrast(images: Images, factors: Float[Array, " batch"]) -> Images:
    """Blend with the mean m of the grey image: factor * image + (1 - factor) * m.

    Clipped to 0..1.
    """
    return _blend(images, grey(images).mean(axis=(1, 2, 3), keepdims=True), factors)


def adjust_saturation(images: Images, factors: Float[Array, " batch"]) -> Images:
    """Blend with the grey image: factor * image + (1 - factor) * grey.

    Clipped to 0..1.
    """
    return _blend(images, grey(images), factors)


def adjust_sharpness(images: Images, factors: Float[Array, " batch"]) -> Images:
    """Blend with the smoothed image: factor * image + (1 - factor) * smoothed.

    Clipped to 0..1. Smoothing is Pillow's: 3x3 weights 1 with 5 in the middle, over 13;
    pixels at the border stay as they are.
    """
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]  # (batch, height - 2, ...)
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = (total + 4 * images[:, 1:-1, 1:-1]) / 13
    smooth = jnp.asarray(images).at[:, 1:-1, 1:-1].set(inner)
    return _blend(images, smooth, factors)


def posterize(images: Images, bits: int) -> Images:
    """Keep only the `bits` highest of 8 bits."""
    dropped = 8 - bits
    return ((_levels(images) >> dropped) << dropped).astype(images.dtype) / 255


def solarize(images: Images, threshold: float) -> Images:
    """Invert what is at or above the 8-bit level `threshold`; 256 changes nothing."""
    return jnp.where(_levels(images) >= threshold, 1 - images, images)


def autocontrast(images: Images) -> Images:
    """Stretch each channel to 0..1: (image - lowest) / (highest - lowest).

    A channel of one level stays as it is.
    """
    lowest = images.min(axis=(1, 2), keepdims=True)  # (batch, 1, 1, channels)
    span = images.max(axis=(1, 2), keepdims=True) - lowest
    stretched = (images - lowest) / jnp.where(span > 0, span, 1)
    return jnp.where(span > 0, jnp.clip(stretched, 0, 1), images)


def equalize(images: Images) -> Images:
    """Spread levels evenly over 0..255 by their cumulative histogram, by channel.

        step = (pixels - pixels of the highest level) // 255
        new level = min((step // 2 + pixels below the level) // step, 255)

    A channel whose step is 0 (nearly all its pixels share one level) stays as it is.
    """
    return jax.vmap(_equalize_one)(images)


def _equalize_one(image: Float[Array, "height width channels"]) -> Array:
    channel = jnp.arange(image.shape[-1])
    levels = _levels(image)
    count = jnp.zeros((len(channel), 256), jnp.int32).at[channel, levels].add(1)
    below = jnp.cumsum(count, axis=1) - count  # (channels, 256)
    # Below the highest level that occurs lie all pixels but its own.
    step = jnp.where(count > 0, below, 0).max(axis=1) // 255  # (channels,)
    rounding = (step // 2)[:, None]
    table = (rounding + below) // jnp.maximum(step, 1)[:, None]
    spread = jnp.minimum(table, 255)[channel, levels].astype(image.dtype) / 255
    return jnp.where(step > 0, spread, image)


def _levels(images: Float[Array, "..."]) -> Int[Array, "..."]:
    return jnp.clip(jnp.round(images * 255), 0, 255).astype(jnp.int32)
