"""What VDPA decides: its gate, its attention's reach, and where its pooling looks."""

import os
import pathlib

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.distributions import boxes_per_block, check_blocks
from tokenjax.plots.images import displayable

ALPHA_RANGE = (0.31, 0.89)


@files.styled
def alpha_per_block(alpha: np.ndarray, path: str | os.PathLike[str]) -> pathlib.Path:
    """Draw the gate's distribution over images, block by block, within its bounds.

    Args:
      alpha: (depth, n), the share of the local path for each block and image.
      path: the PNG to write.

    Raises:
      ValueError: alpha is not (depth, n) finite numbers.
    """
    alpha = check_blocks("alpha", alpha)
    figure, grid = files.new_figure(max(6.0, 0.55 * len(alpha) + 1.5), 4.2)
    axes = grid[0, 0]
    low, high = ALPHA_RANGE
    for bound, above in ((low, -1), (high, 1)):
        axes.axhline(bound, color=files.GREY, linestyle="--", linewidth=1.2)
        axes.annotate(
            f"bound {bound}",
            (1.0, bound),
            xytext=(-4, 4 * above),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="bottom" if above > 0 else "top",
            color=files.GREY,
            fontsize=9,
        )
    boxes_per_block(axes, alpha, files.BLUE)
    axes.set_ylim(
        min(low - 0.06, alpha.min() - 0.02), max(high + 0.06, alpha.max() + 0.02)
    )
    axes.set_ylabel("alpha: share of the local path\n(0 all global, 1 all local)")
    axes.set_title(f"Gate between local and global attention, {_images(alpha)}")
    return files.save(figure, path)


@files.styled
def effective_keys(
    keys: np.ndarray,
    num_tokens: int,
    path: str | os.PathLike[str],
    name: str = "attention",
) -> pathlib.Path:
    """Draw to how many keys a query really attends, block by block.

    Args:
      keys: (depth, n), mean over heads and queries, from 1 to `num_tokens`.
      num_tokens: keys there are.
      path: the PNG to write.
      name: of the attention, for the title.

    Raises:
      ValueError: keys are not (depth, n) finite numbers above 0, or num_tokens is not.
    """
    keys = check_blocks("keys", keys)
    if keys.min() <= 0 or num_tokens < 1:
        raise ValueError("keys and num_tokens must be above 0")
    figure, grid = files.new_figure(max(6.0, 0.55 * len(keys) + 1.5), 4.2)
    axes = grid[0, 0]
    axes.axhline(num_tokens, color=files.GREY, linestyle="--", linewidth=1.2)
    axes.annotate(
        f"all {num_tokens} tokens",
        (1.0, num_tokens),
        xytext=(-4, 4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=files.GREY,
        fontsize=9,
    )
    boxes_per_block(axes, keys, files.GREEN)
    if num_tokens / keys.min() > 8:
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(max(keys.min() / 1.5, 0.5), num_tokens * 1.6)
    else:
        axes.set_ylim(0, num_tokens * 1.12)
    axes.set_ylabel("effective keys per query")
    axes.set_title(f"Reach of {name}, {_images(keys)}")
    return files.save(figure, path)


@files.styled
def pooling_weights(
    images: np.ndarray,
    weights: np.ndarray,
    weight_map: np.ndarray,
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw where adaptive local pooling looks, a row for each image.

    Left the image; in the middle each token's share in the class token, relative to the
    uniform 1/N; right how many of its K neighbours a token averages, as the exponential
    of the entropy of its weights.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1.
      weights: (n, g * g, K), each token's weights over its neighbours, summing to 1.
      weight_map: (n, g, g), each token's share in the class token, summing to 1.
      path: the PNG to write.

    Raises:
      ValueError: shapes that disagree.
    """
    shown = displayable(images)  # (n, h, w, 3)
    weights, weight_map = np.asarray(weights, float), np.asarray(weight_map, float)
    _check_pooling(len(shown), weights, weight_map)
    count, side = weight_map.shape[:2]
    logarithms = np.log(weights, where=weights > 0, out=np.zeros_like(weights))
    neighbours = np.exp(-(weights * logarithms).sum(-1)).reshape(count, side, side)
    ratio = np.log2(np.maximum(weight_map * side * side, 1e-3))  # 0 where uniform

    figure, grid = files.new_figure(8.6, 2.3 * count + 0.8, count, 3)
    for row, image in zip(grid, shown, strict=True):
        panels.picture(row[0], image)
    limit = float(np.clip(np.abs(ratio).max(), 0.05, 3))
    _overlays(figure, grid[:, 1], shown, ratio, Normalize(-limit, limit), "RdBu_r")
    most = weights.shape[-1]
    _overlays(figure, grid[:, 2], shown, neighbours, Normalize(1, most), "viridis")
    panels.without_ticks(grid.flat)
    grid[0, 0].set_title("image")
    grid[0, 1].set_title("share in the class token\n(1× is uniform)")
    grid[0, 2].set_title(f"neighbours a token averages\n(1 to {most})")
    return files.save(figure, path)


def _check_pooling(count: int, weights: np.ndarray, weight_map: np.ndarray) -> None:
    side = weight_map.shape[-1] if weight_map.ndim else 0
    if weight_map.shape != (count, side, side):
        raise ValueError(
            f"weight_map must be ({count}, g, g), got shape {weight_map.shape}"
        )
    if weights.ndim != 3 or weights.shape[:2] != (count, side * side):
        raise ValueError(
            f"weights must be ({count}, {side * side}, K), got shape {weights.shape}"
        )


def _overlays(
    figure: Figure,
    column: np.ndarray,
    images: np.ndarray,
    maps: np.ndarray,
    norm: Normalize,
    colours: str,
) -> None:
    """Draw maps (n, g, g) over grey images (n, h, w, 3), with one colour bar.

    With the colours of `RdBu_r` the maps are binary logarithms of ratios.
    """
    for axes, image, values in zip(column, images, maps, strict=True):
        picture = panels.overlay(axes, image, values, norm, colours)
    bar = figure.colorbar(
        picture, ax=list(column), location="right", shrink=0.9, aspect=28
    )
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=colours != "RdBu_r"))
    if colours == "RdBu_r":
        bar.ax.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{2.0**value:.3g}×")
        )


def _images(values: np.ndarray) -> str:
    count = values.shape[1]
    return f"{count:,} image{'s' if count != 1 else ''}"
