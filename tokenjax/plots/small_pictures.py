"""Small pictures of images and their patches, drawn as arrays.

Without matplotlib, so that drawing them costs an evaluation next to nothing. Pictures
are (n, h, w, 3) uint8; maps and masks are (n, rows, columns), of the patches.
"""

import contextlib
import functools
import importlib.util
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tokenjax.plots import images
from tokenjax.plots.images import displayable, faded, greyscale, on_pixels

LONGEST = 128  # pixels, of a picture's longer side
HEAT = np.array(  # matplotlib's "inferno" at even distances
    [
        *((0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85)),
        *((227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164)),
    ],
    np.float32,
)
HEAT_SHARE = 0.75  # of a pixel; the rest is the image, half its contrast, in grey
BRIGHT = 0.66  # of the scale: text on what is hotter is black
ROUTED, BOX = (86, 180, 233), (213, 94, 0)  # outlines: of chosen patches, of a target
EDGE = (138, 144, 153)  # between tokens, seen on dark pictures and on bright ones
LEAST_PATCH = 14  # pixels of a patch that a number is written into
FONT = "mpl-data/fonts/ttf/DejaVuSans.ttf"
Colour = tuple[int, int, int]


class Row(NamedTuple):
    """A row of a frame.

    Attributes:
      label: what the pictures show; it may have several lines.
      pictures: (n, h, w, 3) uint8, one for each image.
    """

    label: str
    pictures: np.ndarray


def enlarge(images: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """Return images (n, h, w, 1 or 3) as pictures of at most `longest` pixels a side.

    Small ones are enlarged by a whole factor, so that their pixels keep their edges.
    """
    shown = np.round(displayable(images) * 255).astype(np.uint8)  # (n, h, w, 3)
    height, width = shown.shape[1:3]
    factor = longest // max(height, width)
    if factor:
        return shown.repeat(factor, axis=1).repeat(factor, axis=2)
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = [Image.fromarray(each).resize(size, Image.Resampling.BOX) for each in shown]
    return np.stack([np.asarray(each) for each in small])


def heat(
    pictures: np.ndarray, maps: np.ndarray, low: float, high: float, power: float = 1.0
) -> np.ndarray:
    """Return the pictures in grey under the maps in colours from `low` to `high`.

    `power`: of how far up a value is, 0.5 to tell small ones apart. Patches whose value
    is NaN are faded.
    """
    quiet = 0.25 + 0.5 * pictures.astype(np.float32) / 255
    grey = np.repeat(greyscale(quiet)[..., None], 3, axis=-1) * 255
    places = _places(maps, low, high) ** power * (len(HEAT) - 1)
    there = ~np.isnan(places)
    known, places = np.arange(len(HEAT)), np.where(there, places, 0)
    colours = np.stack(
        [np.interp(places, known, HEAT[:, channel]) for channel in range(3)], -1
    ).astype(np.float32)  # (n, rows, columns, 3)
    drawn = np.empty(pictures.shape, np.uint8)
    for index, (image, colour) in enumerate(zip(grey, colours, strict=True)):
        size = image.shape[:2]
        drawn[index] = (1 - HEAT_SHARE) * image + HEAT_SHARE * on_pixels(colour, size)
        if not there[index].all():
            pale = 255 * faded(image / 255, there[index])
            drawn[index] = np.where(
                on_pixels(there[index], size)[..., None], drawn[index], pale
            )
    return drawn


def fade(
    pictures: np.ndarray, masks: np.ndarray, colour: Colour | None = None
) -> np.ndarray:
    """Return the pictures with the patches faded that a mask is false for.

    `colour`: of a line around the others, none if not given.
    """
    drawn = np.empty(pictures.shape, np.uint8)
    for index, (image, mask) in enumerate(zip(pictures, masks, strict=True)):
        drawn[index] = 255 * faded(image / np.float32(255), mask)
    return drawn if colour is None else outline(drawn, masks, colour)


def fill_regions(pictures: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return the pictures with what is one token in its mean colour and a thin line.

    `maps` (n, rows, columns): the token of each patch, -1 for a dropped one, faded.
    """
    drawn = np.empty(pictures.shape, np.uint8)
    for index, (image, tokens) in enumerate(zip(pictures, maps, strict=True)):
        drawn[index] = 255 * images.fill_regions(image / np.float32(255), tokens)
        inside = on_pixels(tokens, image.shape[:2])
        level, upright = images.region_edges(inside)
        drawn[index, 1:][level] = EDGE
        drawn[index, :, 1:][upright] = EDGE
    return drawn


def outline(pictures: np.ndarray, masks: np.ndarray, colour: Colour) -> np.ndarray:
    """Return the pictures with a line, two pixels wide, around what a mask is true for.

    It runs within the patches.
    """
    drawn = pictures.copy()
    for image, mask in zip(drawn, masks, strict=True):
        inside = on_pixels(mask, image.shape[:2])
        padded = np.pad(inside, 2)
        core = padded.copy()
        for axis in (0, 1):
            for distance in (-2, -1, 1, 2):
                core &= np.roll(padded, distance, axis)
        image[inside & ~core[2:-2, 2:-2]] = colour
    return drawn


def write_numbers(
    pictures: np.ndarray, maps: np.ndarray, low: float, high: float
) -> np.ndarray | None:
    """Return the pictures with each value, 0 to 1, written in its patch.

    None where patches are too small for it. `low` and `high` are the bounds of the
    colours below.
    """
    rows, columns = maps.shape[1:]
    height, width = pictures.shape[1] / rows, pictures.shape[2] / columns
    if min(height, width) < LEAST_PATCH:
        return None
    letters = font(int(np.clip(width / 2.8, 8, 10)))
    digits = 2 if width >= 2 * LEAST_PATCH else 0
    drawn = []
    for picture, values, places in zip(
        pictures, maps, _places(maps, low, high), strict=True
    ):
        canvas = Image.fromarray(picture)
        draw = ImageDraw.Draw(canvas)
        for (row, column), value in np.ndenumerate(values):
            text = f"{value:.2f}".removeprefix("0") if digits else f"{100 * value:.0f}"
            draw.text(
                ((column + 0.5) * width, (row + 0.5) * height),
                text,
                fill="black" if places[row, column] > BRIGHT else "white",
                font=letters,
                anchor="mm",
            )
        drawn.append(np.asarray(canvas))
    return np.stack(drawn)


def draw_boxes(
    pictures: np.ndarray, boxes: np.ndarray | None, image_size: Sequence[int]
) -> np.ndarray:
    """Return the pictures with a box (n, 4) on each; as they are without boxes.

    Args:
      pictures: of images of `image_size`, (h, w).
      boxes: top, left, bottom, right in pixels of the image, bounds excluded.
      image_size: see `pictures`.
    """
    if boxes is None:
        return pictures
    tall, wide = (
        new / old for new, old in zip(pictures.shape[1:3], image_size, strict=True)
    )
    drawn = []
    for picture, (top, left, bottom, right) in zip(pictures, boxes, strict=True):
        canvas = Image.fromarray(picture)
        draw = ImageDraw.Draw(canvas)
        corners = (left * wide, top * tall, right * wide - 1, bottom * tall - 1)
        around = [at + by for at, by in zip(corners, (-1, -1, 1, 1), strict=True)]
        draw.rectangle(around, outline="white", width=4)  # seen on heat as well
        draw.rectangle(corners, outline=BOX, width=2)
        drawn.append(np.asarray(canvas))
    return np.stack(drawn)


def side_by_side(pictures: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Return pictures of the same images joined to one for each, white between them."""
    joined: list[np.ndarray] = []
    for each in pictures:
        if joined:
            joined.append(np.full((*each.shape[:2], gap, 3), 255, np.uint8))
        joined.append(each)
    return np.concatenate(joined, axis=2)


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return matplotlib's own font, of `size` pixels, without importing matplotlib.

    Pillow's has no letter that English lacks; it stands in where there is no other.
    """
    package = importlib.util.find_spec("matplotlib")
    if package is not None and package.origin:
        path = pathlib.Path(package.origin).parent / FONT
        with contextlib.suppress(OSError):
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def _places(maps: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return where values are between `low` and `high`, 0 to 1."""
    return np.clip((maps - low) / max(high - low, 1e-12), 0, 1)
