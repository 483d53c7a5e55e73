"""A box of an image, of random place, area and shape, enlarged to the whole image.

    area    uniform in [least, 1] of the image's
    aspect  width over height, log-uniform in a range
    place   uniform among those where the box lies within the image

Sides are rounded to pixels. A box that does not fit is drawn again, ten times at most;
then the middle of the image is taken, as large as the range of aspects allows.
Source: torchvision's RandomResizedCrop (Szegedy et al. 2015).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from tokenjax.data.augmentation.geometry import Images, zoom

TRIES = 10

Boxes = tuple[Int[Array, "batch 2"], Int[Array, "batch 2"]]


def random_resized_crop(
    key: jax.Array, images: Images, least: float, aspects: tuple[float, float]
) -> Images:
    """Enlarge a box of at least the share `least` of each image, by draws of its own.

    `aspects`: smallest and largest, both above 0.
    """
    batch, height, width, _ = images.shape
    return zoom(images, *draw_boxes(key, batch, (height, width), least, aspects))


def draw_boxes(
    key: jax.Array,
    batch: int,
    size: tuple[int, int],
    least: float,
    aspects: tuple[float, float],
) -> Boxes:
    """Draw the upper left corner and the sides (rows, columns) of a box per image."""
    height, width = size
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    draws = (batch, TRIES)
    areas = jax.random.uniform(area_key, draws, minval=least, maxval=1.0)
    areas *= height * width
    low, high = (math.log(aspect) for aspect in aspects)
    ratios = jnp.exp(jax.random.uniform(aspect_key, draws, minval=low, maxval=high))
    sides = jnp.sqrt(jnp.stack([areas / ratios, areas * ratios], axis=-1))
    sides = jnp.round(sides).astype(jnp.int32)  # (batch, tries, 2)
    limits = jnp.asarray([height, width])
    fits = ((sides > 0) & (sides <= limits)).all(axis=-1)  # (batch, tries)
    first = jnp.argmax(fits, axis=1)[:, None, None]
    chosen = jnp.take_along_axis(sides, first, axis=1)[:, 0]  # (batch, 2)
    middle = jnp.asarray(_largest(height, width, aspects))
    found = fits.any(axis=1)[:, None]
    side = jnp.where(found, chosen, middle)
    room = limits - side
    at_random = jax.random.randint(place_key, (batch, 2), 0, room + 1)
    return jnp.where(found, at_random, room // 2), side


def _largest(height: int, width: int, aspects: tuple[float, float]) -> tuple[int, int]:
    """Return the sides of the largest box whose aspect is in the range."""
    low, high = aspects
    if width < low * height:
        return max(round(width / low), 1), width
    if width > high * height:
        return height, max(round(height * high), 1)
    return height, width
