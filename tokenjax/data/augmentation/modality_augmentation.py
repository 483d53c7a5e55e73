"""Augmentation of samples of several images, on the device, from a key.

In this order, on normalised images: horizontal flip; a border of black (-1 once
normalised) and a random crop of the old size; random erasing, a box of standard normal
noise. Of a box the area's share of the image is uniform in 0.02..1/3 and the log of
its aspect (height over width) uniform in log 0.3..-log 0.3; sides that do not fit are
drawn again, ten times at most.

`aligned` draws flip, crop and box once per sample for all of its modalities, so that
their pixels still belong together; otherwise each modality has draws of its own, as
the original program does. Noise is always each one's own. What is switched off is not
traced at all.

A modality that is missing must be set to 0 after this, not before: the border and the
noise would be seen in it.
Sources: DeMo's transforms, which use timm's RandomErasing (Zhong et al. 2020).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from tokenjax.data.augmentation.geometry import Images, translate
from tokenjax.data.augmentation.holes import (
    ERASING_TRIES,
    first_that_fits,
    inside_box,
)
from tokenjax.errors import UserError

BLACK = -1.0  # (0 / 255 - 0.5) / 0.5
ERASED_SHARE = (0.02, 1 / 3)
ERASED_LOG_ASPECT = (math.log(0.3), -math.log(0.3))


def augment_modalities(
    key: jax.Array,
    images: dict[str, Images],
    *,
    flip: float = 0.5,
    crop_padding: int = 10,
    random_erasing: float = 0.5,
    aligned: bool = True,
) -> dict[str, Images]:
    """Augment normalised images (batch, height, width, 3) of every modality.

    `flip` and `random_erasing` are probabilities, `crop_padding` pixels. All
    modalities have one shape. Raises `UserError` for a value out of range.
    """
    for name, probability in (("flip", flip), ("random_erasing", random_erasing)):
        if not 0 <= probability <= 1:
            raise UserError(f"{name} is a probability, 0 to 1, got {probability}")
    if crop_padding < 0:
        raise UserError(f"crop_padding must be 0 or more, got {crop_padding}")

    shared, noises = jax.random.split(key)
    augmented = {}
    # Sorted, as a dict that comes through jit is: the draws must not depend on that.
    for number, name in enumerate(sorted(images)):
        draws = shared if aligned else jax.random.fold_in(shared, number)
        noise = jax.random.fold_in(noises, number)
        picture = images[name]
        flips, crops, boxes = jax.random.split(draws, 3)
        if flip:
            picture = _flip(flips, picture, flip)
        if crop_padding:
            picture = _crop(crops, picture, crop_padding)
        if random_erasing:
            picture = _erase(boxes, noise, picture, random_erasing)
        augmented[name] = picture
    return {name: augmented[name] for name in images}


def _flip(key: jax.Array, images: Images, probability: float) -> Images:
    chosen = jax.random.bernoulli(key, probability, (len(images), 1, 1, 1))
    return jnp.where(chosen, images[:, :, ::-1], images)


def _crop(key: jax.Array, images: Images, padding: int) -> Images:
    offsets = jax.random.randint(key, (len(images), 2), -padding, padding + 1)
    return shift_on_black(images, offsets, padding)


def _erase(
    key: jax.Array, noise_key: jax.Array, images: Images, probability: float
) -> Images:
    batch, height, width, _ = images.shape
    whether, share, aspect, corner = jax.random.split(key, 4)
    tries = (batch, ERASING_TRIES)
    low, high = ERASED_SHARE
    shares = jax.random.uniform(share, tries, minval=low, maxval=high)
    low, high = ERASED_LOG_ASPECT
    log_aspects = jax.random.uniform(aspect, tries, minval=low, maxval=high)
    corners = jax.random.uniform(corner, (batch, 2))
    boxes = erasing_boxes(shares, log_aspects, corners, height, width)  # (b, h, w, 1)
    chosen = jax.random.bernoulli(whether, probability, (batch, 1, 1, 1))
    noise = jax.random.normal(noise_key, images.shape, images.dtype)
    return jnp.where(boxes & chosen, noise, images)


def shift_on_black(
    images: Images, offsets: Int[Array, "batch 2"], limit: int
) -> Images:
    """Move images by whole pixels (down, right) within +-limit, onto black."""
    _, height, width, _ = images.shape
    stop = offsets + jnp.asarray([height, width])
    moved = translate(images, offsets, limit)
    return jnp.where(inside_box(offsets, stop, height, width), moved, BLACK)


def erasing_boxes(
    shares: Float[Array, "batch tries"],
    log_aspects: Float[Array, "batch tries"],
    corners: Float[Array, "batch 2"],
    height: int,
    width: int,
) -> Bool[Array, "batch height width 1"]:
    """Return where each image is erased; nowhere if none of its tries fits.

    `shares` of the image's area; `corners` as `holes.first_that_fits` takes them.
    """
    areas = shares * (height * width)
    return first_that_fits(areas, jnp.exp(log_aspects), corners, height, width)
