"""Boxes in image batches: cutout's square holes and random erasing's rectangles.

Boxes are masks, never slices, so their places and sizes may be traced values.
Sources: DeVries and Taylor 2017 (arXiv:1708.04552); Zhong et al. 2020
(arXiv:1708.04896) with torchvision's defaults.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from tokenjax.data.augmentation.geometry import Images

ERASED_AREA = (0.02, 0.33)  # share of the image
ERASED_ASPECT = (0.3, 3.3)  # height over width
ERASING_TRIES = 10


def inside_box(
    first: Int[Array, "... 2"], stop: Int[Array, "... 2"], height: int, width: int
) -> Bool[Array, "... height width 1"]:
    """Return where first <= (row, column) < stop; boxes may exceed the image."""
    row, column = jnp.arange(height), jnp.arange(width)
    in_rows = (row >= first[..., :1]) & (row < stop[..., :1])  # (..., height)
    in_columns = (column >= first[..., 1:]) & (column < stop[..., 1:])
    return in_rows[..., :, None, None] & in_columns[..., None, :, None]


def cut_out(
    images: Images,
    centres: Float[Array, "batch 2"],
    side: int,
    fill: ArrayLike,
    even: bool = False,
) -> Images:
    """Set a square of `side` pixels to `fill`, cut off at the image's border.

        rows and columns in [centre - side // 2, centre - side // 2 + side), or, `even`,
        in [centre - side // 2, centre + side // 2): an odd side gives one pixel less

    `centres` in 0..1 pick the pixel (row, column) at the middle of the hole. `even` is
    the published program and CIFAR-ViT's; an even side is the same either way.
    """
    _, height, width, _ = images.shape
    size = jnp.asarray([height, width])
    first = jnp.floor(centres * size).astype(jnp.int32) - side // 2  # (batch, 2)
    length = 2 * (side // 2) if even else side
    hole = inside_box(first, first + length, height, width)
    return jnp.where(hole, jnp.asarray(fill, images.dtype), images)


def erase(
    key: jax.Array, images: Images, probability: float, fill: ArrayLike
) -> Images:
    """Set one rectangle of each image to `fill`, with `probability`.

    The rectangle's area is uniform in 2 % to 33 % of the image and its aspect ratio
    log-uniform in 0.3 to 3.3. Sides that do not fit are drawn again, ten times at most:
    all ten are drawn at once, the first that fits is taken, none if none does.
    """
    batch, height, width, _ = images.shape
    whether, area, aspect, place = jax.random.split(key, 4)
    draws = (batch, ERASING_TRIES)
    low, high = (share * height * width for share in ERASED_AREA)
    areas = jax.random.uniform(area, draws, minval=low, maxval=high)
    low, high = (math.log(ratio) for ratio in ERASED_ASPECT)
    ratios = jnp.exp(jax.random.uniform(aspect, draws, minval=low, maxval=high))
    corners = jax.random.uniform(place, (batch, 2))
    hole = first_that_fits(areas, ratios, corners, height, width)
    chosen = jax.random.uniform(whether, (batch, 1, 1, 1)) < probability
    return jnp.where(hole & chosen, jnp.asarray(fill, images.dtype), images)


def first_that_fits(
    areas: Float[Array, "batch tries"],
    aspects: Float[Array, "batch tries"],
    corners: Float[Array, "batch 2"],
    height: int,
    width: int,
) -> Bool[Array, "batch height width 1"]:
    """Return the first box of each image that is smaller than it; none if none is.

        sides = round(sqrt(area * aspect^(1, -1)))

    `areas` in pixels, `aspects` height over width. `corners` in [0, 1) pick one of the
    places (row, column) where the box lies wholly within the image.
    """
    sides = jnp.sqrt(jnp.stack([areas * aspects, areas / aspects], axis=-1))
    sides = jnp.round(sides).astype(jnp.int32)  # (batch, tries, 2)
    size = jnp.asarray([height, width])
    fits = (sides < size).all(axis=-1)  # (batch, tries)
    taken = jnp.argmax(fits, axis=1)[:, None, None]
    side = jnp.take_along_axis(sides, taken, axis=1)[:, 0]  # (batch, 2)
    # Rounding may lift a product of a corner just below 1 to the next place.
    room = size - side
    first = jnp.minimum(jnp.floor(corners * (room + 1)).astype(jnp.int32), room)
    boxes = inside_box(first, first + side, height, width)
    return boxes & fits.any(axis=1)[:, None, None, None]
