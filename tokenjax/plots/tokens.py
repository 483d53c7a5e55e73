"""Which patches a model keeps, and which its class token attends to."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import displayable, evenly_chosen, faded

MOST_IMAGES = 8
MOST_STAGES = 8
MOST_BLOCKS = 6
HIGHEST_RATIO = 16.0


@files.styled
def kept_patches(
    images: np.ndarray,
    keep_masks: np.ndarray,
    path: str | os.PathLike[str],
    titles: Sequence[str] | None = None,
) -> pathlib.Path:
    """Draw which patches are left after every stage of pruning, a row for each image.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1; the first 8 are drawn.
      keep_masks: (stages, n, g * g), true or 1 where a patch is kept, row by row of its
        g x g grid. Of more than 8 stages, an even selection is drawn.
      path: the PNG to write.
      titles: one for each image, written beside it.

    Dropped patches are faded; the shares in the headings are means over what is drawn.

    Raises:
      ValueError: shapes that disagree, patches on no square grid, or masks that are
        not 0 or 1.
    """
    shown = displayable(images)  # (n, h, w, 3)
    masks = np.asarray(keep_masks)
    side = panels.check_square_maps("keep_masks", masks, shown)
    if not np.isin(masks, (0, 1)).all():
        raise ValueError("keep_masks must be 0 or 1")
    if titles is not None and len(titles) != len(shown):
        raise ValueError(f"{len(titles)} titles for {len(shown)} images")
    shown, masks = shown[:MOST_IMAGES], masks[:, :MOST_IMAGES].astype(bool)
    stages = evenly_chosen(len(masks), MOST_STAGES)
    height, width = panels.cell(shown)
    figure, grid = files.new_figure(
        max(width * (1 + len(stages)) + 0.4, 3.0),
        height * len(shown) + 0.6,
        len(shown),
        1 + len(stages),
    )
    for row, image in zip(grid, shown, strict=True):
        panels.picture(row[0], image)
    grid[0, 0].set_title("image", fontsize=10)
    for column, stage in zip(grid.T[1:], stages, strict=True):
        maps = masks[stage].reshape(-1, side, side)  # (n, g, g)
        for axes, image, kept in zip(column, shown, maps, strict=True):
            panels.picture(axes, faded(image, kept))
            panels.patch_lines(axes, image, side)
        heading = f"stage {stage + 1}:\n{100 * maps.mean():.0f} % kept"
        column[0].set_title(heading, fontsize=10)
    panels.without_ticks(grid.flat)
    for axes, title in zip(grid[:, 0], titles or [], strict=False):
        axes.set_ylabel(files.short(title, 24), fontsize=9)
    return files.save(figure, path)


@files.styled
def class_attention(
    images: np.ndarray,
    attention: np.ndarray,
    path: str | os.PathLike[str],
    whose: str = "the class token",
) -> pathlib.Path:
    """Draw where the class token looks in every block, a row for each image.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1; the first 8 are drawn.
      attention: (depth, n, g * g), the class token's attention to the patches, a mean
        over heads; 0 for patches that are gone, which are faded. Of more
        than 6 blocks, an even selection is drawn.
      path: the PNG to write.
      whose: attention it is, for the colour bar.

    Colours are multiples of 1 / (g * g), what each patch would get were all alike, on
    one scale for the whole figure; its upper end is the 99.5th percentile.

    Raises:
      ValueError: shapes that disagree, patches on no square grid, or attention that is
        negative or not finite.
    """
    shown = displayable(images)  # (n, h, w, 3)
    attention = np.asarray(attention, np.float64)
    side = panels.check_square_maps("attention", attention, shown)
    if not np.isfinite(attention).all() or attention.min() < 0:
        raise ValueError("attention must be finite and not negative")
    blocks = evenly_chosen(len(attention), MOST_BLOCKS)
    shown = shown[:MOST_IMAGES]
    ratios = attention[blocks, : len(shown)] * side * side  # (blocks, n, g * g)
    top = float(np.clip(np.percentile(ratios, 99.5), 2, HIGHEST_RATIO))
    norm = PowerNorm(0.5, 0, top, clip=True)
    height, width = panels.cell(shown)
    figure, grid = files.new_figure(
        width * (1 + len(blocks)) + 1.6,
        max(height * len(shown) + 0.3, 2.3),
        len(shown),
        1 + len(blocks),
    )
    for row, image in zip(grid, shown, strict=True):
        panels.picture(row[0], image)
    grid[0, 0].set_title("image", fontsize=10)
    for column, block, maps in zip(grid.T[1:], blocks, ratios, strict=True):
        squares = np.ma.masked_equal(maps, 0).reshape(-1, side, side)  # (n, g, g)
        for axes, image, values in zip(column, shown, squares, strict=True):
            # Half its contrast, so that what shines through cannot pass for heat.
            quiet = faded(0.25 + 0.5 * image, ~np.ma.getmaskarray(values))
            heat = panels.overlay(axes, quiet, values, norm, "inferno", 0.75)
        column[0].set_title(f"block {block + 1}", fontsize=10)
    panels.without_ticks(grid.flat)
    bar = figure.colorbar(
        heat,
        ax=list(grid.flat),
        aspect=12 + 7 * len(shown),
        pad=0.02,
        extend="max" if ratios.max() > top else "neither",
    )
    bar.set_label(f"attention of {whose}\n(1×: alike for all)", fontsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_ticks([tick for tick in (0, 0.25, 1, 2, 4, 8, 16) if tick <= top])
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    return files.save(figure, path)
