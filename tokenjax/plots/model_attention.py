"""Where several models look in the same images, side by side."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import displayable, faded

HIGHEST_RATIO = 16.0


@files.styled
def attention_by_model(
    images: np.ndarray,
    attention: Mapping[str, np.ndarray],
    titles: Sequence[str],
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw each model's attention over the images, a row a model, a column an image.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1.
      attention: by model (n, g * g), how much its class token attends to each patch; 0
        for patches that are gone, which are faded.
      titles: one for each image.
      path: the PNG to write.

    Colours are multiples of what each patch would get were all alike, on one scale.

    Raises:
      ValueError: no models, shapes that disagree, or attention that is negative or not
        finite.
    """
    shown = displayable(images)  # (n, h, w, 3)
    if not attention or len(titles) != len(shown):
        raise ValueError(f"{len(attention)} models, {len(titles)} titles to draw")
    ratios = {}
    for name, maps in attention.items():
        side = panels.check_square_maps(name, maps, shown, stacked=False)
        if not np.isfinite(maps).all() or maps.min() < 0:
            raise ValueError(f"{name}: attention must be finite and not negative")
        ratios[name] = (maps * side * side).reshape(-1, side, side)
    every = np.concatenate([each.ravel() for each in ratios.values()])
    top = float(np.clip(np.percentile(every, 99.5), 2, HIGHEST_RATIO))
    norm = PowerNorm(0.5, 0, top, clip=True)
    height, width = panels.cell(shown, 1.15)
    rows = 1 + len(ratios)
    figure, grid = files.new_figure(
        width * len(shown) + 2.4, height * rows + 0.4, rows, len(shown)
    )
    for axes, image, title in zip(grid[0], shown, titles, strict=True):
        panels.picture(axes, image)
        axes.set_title(files.short(title, 14), fontsize=9)
    for row, (name, squares) in zip(grid[1:], ratios.items(), strict=True):
        for axes, image, values in zip(row, shown, squares, strict=True):
            quiet = faded(0.25 + 0.5 * image, values > 0)
            masked = np.ma.masked_equal(values, 0)
            heat = panels.overlay(axes, quiet, masked, norm, "inferno", 0.75)
        row[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
    panels.without_ticks(grid.flat)
    bar = figure.colorbar(heat, ax=list(grid.flat), aspect=30, pad=0.02)
    bar.set_label("attention of the class token (1×: alike for all)", fontsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_ticks([tick for tick in (0, 0.25, 1, 2, 4, 8, 16) if tick <= top])
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    return files.save(figure, path, dpi=100)
