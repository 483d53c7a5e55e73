"""What became of an image's patches where a network goes on with fewer tokens."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import (
    displayable,
    evenly_chosen,
    fill_regions,
    find_grid,
    region_edges,
)

MOST_IMAGES = 8
MOST_BLOCKS = 6


@files.styled
def token_regions(
    images: np.ndarray,
    held: np.ndarray,
    blocks: Sequence[int],
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw which patches are one token after blocks that reduce, a row for each image.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1; the first 8 are drawn.
      held: (blocks, n, rows * columns), the token that holds each patch, row by row of
        a grid shaped as the images are; -1 where it was dropped. Of more than 6 blocks,
        an even selection is drawn.
      blocks: the number of each, from 0.
      path: the PNG to write.

    Dropped patches are faded, those that merged have their mean colour, with thin lines
    around what is one token; a token of one patch is left as it is. The counts in the
    headings are means over what is drawn.

    Raises:
      ValueError: shapes that disagree.
    """
    shown = displayable(images)  # (n, h, w, 3)
    held = np.asarray(held)
    if held.ndim != 3 or held.shape[:2] != (len(blocks), len(shown)) or 0 in held.shape:
        raise ValueError(
            f"held must be ({len(blocks)}, {len(shown)}, patches), got {held.shape}"
        )
    chosen = evenly_chosen(len(held), MOST_BLOCKS)
    shown = shown[:MOST_IMAGES]
    grid = find_grid(held.shape[-1], shown.shape[1:3])
    height, width = panels.cell(shown)
    figure, axes = files.new_figure(
        max(width * (1 + len(chosen)) + 0.4, 3.0),
        height * len(shown) + 0.6,
        len(shown),
        1 + len(chosen),
    )
    for row, image in zip(axes, shown, strict=True):
        panels.picture(row[0], image)
    axes[0, 0].set_title(f"image:\n{held.shape[-1]} patches", fontsize=10)
    for column, index in zip(axes.T[1:], chosen, strict=True):
        maps = held[index, : len(shown)].reshape(-1, *grid)
        for each, image, tokens in zip(column, shown, maps, strict=True):
            panels.picture(each, fill_regions(image, tokens))
            _draw_edges(each, image, tokens)
        left = np.mean([len(set(each[each >= 0].tolist())) for each in maps])
        heading = f"block {blocks[index] + 1}:\n{left:.0f} tokens"
        column[0].set_title(heading, fontsize=10)
    panels.without_ticks(axes.flat)
    return files.save(figure, path)


def _draw_edges(axes: Axes, image: np.ndarray, tokens: np.ndarray) -> None:
    """Draw a thin line between patches that are not one token."""
    height, width = image.shape[:2]
    rows, columns = tokens.shape
    level, upright = region_edges(tokens)
    style: files.Style = {"colors": panels.LINES, "linewidths": 0.5, "alpha": 0.9}
    row, column = np.nonzero(level)
    left = column * width / columns - 0.5
    axes.hlines((row + 1) * height / rows - 0.5, left, left + width / columns, **style)
    row, column = np.nonzero(upright)
    top = row * height / rows - 0.5
    axes.vlines((column + 1) * width / columns - 0.5, top, top + height / rows, **style)
