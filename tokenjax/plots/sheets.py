"""Pictures with what was predicted and, beside each, what was looked at."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import displayable

COLUMNS = 8  # panels in a row; a picture with a map takes two
INCHES = 1.6  # of a panel's longer side
LONGEST = 20  # characters of a title under a picture alone


@files.styled
def contact_sheet(
    images: np.ndarray,
    titles: Sequence[str],
    captions: Sequence[str],
    path: str | os.PathLike[str],
    maps: np.ndarray | None = None,
) -> pathlib.Path:
    """Draw pictures in a grid, each with its title above and its caption below.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1.
      titles: what was predicted of each (n,).
      captions: what each is called (n,).
      path: the PNG to write.
      maps: (n, g * g), how much each patch was looked at, not negative: drawn beside
        the picture, each picture's own largest the brightest.

    Raises:
      ValueError: shapes that disagree, patches on no square grid, or maps that are
        negative or not finite.
    """
    shown = displayable(images)  # (n, h, w, 3)
    if not len(shown) == len(titles) == len(captions):
        raise ValueError(
            f"{len(shown)} images, {len(titles)} titles, {len(captions)} captions"
        )
    side = 0
    if maps is not None:
        maps = np.asarray(maps, np.float64)
        side = panels.check_square_maps("maps", maps, shown, stacked=False)
        if not np.isfinite(maps).all() or maps.min() < 0:
            raise ValueError("maps must be finite and not negative")
    each = 1 if maps is None else 2  # panels
    across = min(COLUMNS // each, len(shown))
    rows = -(-len(shown) // across)
    height, width = panels.cell(shown, INCHES)
    figure, grid = files.new_figure(
        max(width * each * across + 0.4, 2.4),
        max((height + 0.42) * rows + 0.2, 2.0),
        rows,
        each * across,
    )
    panels.without_ticks(grid.flat)
    for axes in grid.flat[each * len(shown) :]:
        axes.set_visible(False)
    for index, image in enumerate(shown):
        own = grid.flat[each * index : each * (index + 1)]
        panels.picture(own[0], image)
        _write(own[0], titles[index], captions[index], each)
        if maps is not None:
            _draw_map(own[1], image, maps[index].reshape(side, side))
    return files.save(figure, path)


def _write(axes: Axes, title: str, caption: str, panels_wide: int) -> None:
    """Write both from the left edge: they may run below and above the map."""
    length = LONGEST * panels_wide
    style: files.Style = {"loc": "left", "pad": 3}
    above = axes.set_title(files.short(title, length), fontsize=8.5, **style)
    above.set_parse_math(False)  # a name may hold "$"
    axes.text(
        *(0, -0.04, files.short(caption, length)),
        transform=axes.transAxes,
        fontsize=7,
        color=files.GREY,
        va="top",
        parse_math=False,
    )


def _draw_map(axes: Axes, image: np.ndarray, values: np.ndarray) -> None:
    norm = PowerNorm(0.5, 0, max(float(values.max()), np.finfo(float).tiny), clip=True)
    quiet = 0.25 + 0.5 * image  # so that what shines through cannot pass for heat
    panels.overlay(axes, quiet, values, norm, "inferno", 0.75)
