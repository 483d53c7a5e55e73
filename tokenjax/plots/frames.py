"""Frames of a film of a run: rows of small pictures under a heading, and their GIF."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tokenjax import storage
from tokenjax.plots.small_pictures import Row, font

LABELS = 104  # pixels, of the labels on the left
GAP = 6  # pixels between pictures
HEADING, CAPTION = 24, 16  # pixels
SIZE = 11  # of letters, pixels
INK, RIGHT, WRONG = (32, 33, 36), (0, 128, 96), (193, 80, 0)
PLAYED_MS, LEAST_MS, MOST_MS, LAST_MS = 10_000, 80, 700, 2000
COLOURS = 255  # of a GIF, with one to spare for what has not changed
SAMPLED = 8  # frames that its colours are chosen by


def compose(
    rows: Sequence[Row],
    heading: str,
    captions: Sequence[str] = (),
    right: Sequence[bool] = (),
) -> np.ndarray:
    """Return a frame (h, w, 3) uint8.

    Args:
      rows: of as many pictures each.
      heading: above all.
      captions: above each column, if given; a long one is cut.
      right: the captions' colour, green or red.
    """
    wide = max(row.pictures.shape[2] for row in rows)
    columns = len(rows[0].pictures)
    top = HEADING + (CAPTION if captions else 0)
    height = top + sum(row.pictures.shape[1] + GAP for row in rows)
    lefts = [LABELS + column * (wide + GAP) for column in range(columns)]
    frame = np.full((height, lefts[-1] + wide + GAP, 3), 255, np.uint8)
    tops, at = [], top
    for row in rows:
        tops.append(at)
        tall, own = row.pictures.shape[1:3]
        for left, picture in zip(lefts, row.pictures, strict=True):
            frame[at : at + tall, left : left + own] = picture
        at += tall + GAP
    canvas = Image.fromarray(frame)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 5), heading, fill=INK, font=font(SIZE + 1))
    for row, at in zip(rows, tops, strict=True):
        middle = at + row.pictures.shape[1] / 2
        draw.multiline_text(
            (GAP, middle), row.label, fill=INK, font=font(SIZE), anchor="lm", spacing=2
        )
    for index, (left, caption) in enumerate(zip(lefts, captions, strict=False)):
        colour = INK if not right else RIGHT if right[index] else WRONG
        text = _fitting(draw, caption, wide)
        draw.text((left, HEADING), text, fill=colour, font=font(SIZE))
    return np.asarray(canvas)


def _fitting(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Return the text, cut with an ellipsis if it is wider than so many pixels."""
    if draw.textlength(text, font(SIZE)) <= width:
        return text
    while text and draw.textlength(text + "…", font(SIZE)) > width:
        text = text[:-1]
    return text + "…"


def write(frame: np.ndarray, path: pathlib.Path) -> None:
    """Write a frame as PNG, whole or not at all; its directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.replacing(path) as temporary:
        Image.fromarray(frame).save(temporary, format="PNG", compress_level=3)


def animate(paths: Sequence[pathlib.Path], path: pathlib.Path) -> None:
    """Write PNGs as one animated GIF, in their order; the last one stays for a while.

    Frames of different sizes are filled up with white. All have the same colours, those
    nearest to what some of them need, so that what stays the same costs nothing.
    """
    frames = [_read(each) for each in paths]
    size = tuple(max(frame.size[axis] for frame in frames) for axis in (0, 1))
    whole = [_filled(frame, size) for frame in frames]
    chosen = np.linspace(0, len(whole) - 1, min(len(whole), SAMPLED)).round()
    sample = np.concatenate([np.asarray(whole[int(index)]) for index in chosen])
    palette = Image.fromarray(sample).quantize(COLOURS, Image.Quantize.MEDIANCUT)
    drawn = [
        frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in whole
    ]
    each = int(np.clip(PLAYED_MS / len(drawn), LEAST_MS, MOST_MS))
    with storage.replacing(path) as temporary:
        drawn[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=drawn[1:],
            duration=[each] * (len(drawn) - 1) + [LAST_MS],
            loop=0,
        )


def _read(path: pathlib.Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _filled(frame: Image.Image, size: tuple[int, ...]) -> Image.Image:
    canvas = Image.new("RGB", (size[0], size[1]), "white")
    canvas.paste(frame, (0, 0))
    return canvas
