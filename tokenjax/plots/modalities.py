"""What a model of several modalities selects, scores and aggregates.

Every argument is a dict by modality; grids of patches need not be square.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import displayable, faded
from tokenjax.plots.routing import HEAT

MOST_SAMPLES = 6
MOST_AGGREGATED = 3  # samples of `aggregation_weights`, each with a row per modality
GAP = 0.16  # inches between groups of panels
BAR_LENGTH, BAR_WIDTH = 5.0, 0.18  # inches, the length at most
NARROW = 5.6  # inches, below which a heading has two lines
PAD = 0.05  # inches around every panel

ByModality = Mapping[str, np.ndarray]


@files.styled
def kept_by_modality(
    images: ByModality,
    masks: ByModality,
    grid: tuple[int, int],
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw which patches are kept, a row for each sample, two panels per modality.

    Args:
      images: by modality (n, h, w, 1 or 3), uint8 or float in 0..1; the first 6 drawn.
      masks: by modality (n, rows * columns), 1 where a patch is kept, row by row.
      grid: rows and columns of the patches.
      path: the PNG to write.

    Dropped patches are faded; the shares in the headings are means over what is drawn.

    Raises:
      ValueError: modalities or shapes that disagree, or masks that are not 0 or 1.
    """
    shown = _checked_images(images)
    maps = _checked_maps("masks", masks, shown, grid)
    if not all(np.isin(of, (0, 1)).all() for of in maps.values()):
        raise ValueError("masks must be 0 or 1")
    figure, axes_of = _pairs(shown, right=0.0)
    for name, (left, right) in axes_of.items():
        kept = maps[name][: len(right)].astype(bool)  # (n, rows, columns)
        for axes, image, mask in zip(right, shown[name], kept, strict=False):
            panels.picture(axes, faded(image, mask))
        left[0].set_title(files.short(name, 12), fontsize=10)
        share = f"{100 * kept.mean():.0f} % kept"
        right[0].set_title(share, fontsize=9.5, fontweight="normal")
    return files.save(figure, path)


@files.styled
def selection_scores(
    images: ByModality,
    scores: ByModality,
    grid: tuple[int, int],
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw the scores that patches are selected by as heat, beside each image.

    Args:
      images: by modality (n, h, w, 1 or 3), uint8 or float in 0..1; the first 6 drawn.
      scores: by modality (n, rows * columns), row by row.
      grid: rows and columns of the patches.
      path: the PNG to write.

    One colour scale for the whole figure, from the least to the greatest score drawn.

    Raises:
      ValueError: modalities or shapes that disagree, or scores that are not finite.
    """
    shown = _checked_images(images)
    maps = _checked_maps("scores", scores, shown, grid)
    drawn = np.stack([of[:MOST_SAMPLES] for of in maps.values()])
    low, high = float(drawn.min()), float(drawn.max())
    room = 0.0 if high > low else 0.01  # around scores that are all alike
    norm = Normalize(low - room, high + room)
    figure, axes_of = _pairs(shown, right=1.2)
    for name, (left, right) in axes_of.items():
        for axes, image, values in zip(right, shown[name], maps[name], strict=False):
            _heat(axes, image, values, norm)
        left[0].set_title(files.short(name, 12), fontsize=10)
        right[0].set_title("scores", fontsize=9.5, fontweight="normal")
    everywhere = [axes for pair in axes_of.values() for axes in pair.flat]
    bar = _colour_bar(figure, everywhere, norm)
    bar.locator = MaxNLocator(5)
    bar.set_label("combined score\n(colours: range of the data)", fontsize=9)
    return files.save(figure, path)


@files.styled
def aggregation_weights(
    images: ByModality,
    weights: ByModality,
    grid: tuple[int, int],
    path: str | os.PathLike[str],
    tokens_shown: int = 6,
) -> pathlib.Path:
    """Draw what aggregated tokens look at: a row for each sample and modality.

    Args:
      images: by modality (n, h, w, 1 or 3), uint8 or float in 0..1; the first 3 drawn.
      weights: by modality (n, aggregated, rows * columns), the share of every patch in
        every aggregated token; 0 where a patch was dropped.
      grid: rows and columns of the patches.
      path: the PNG to write.
      tokens_shown: how many tokens a row has, those with the highest single weight,
        highest first; their numbers (from 0) stand above them.

    One colour scale for the whole figure, up to the 99.5th percentile of what is drawn.
    Patches without weight in every token of a sample are faded.

    Raises:
      ValueError: modalities or shapes that disagree, no tokens to show, or weights that
        are negative or not finite.
    """
    shown = _checked_images(images)
    maps = _checked_maps("weights", weights, shown, grid, stacked=True)
    if min(of.min() for of in maps.values()) < 0:
        raise ValueError("weights must not be negative")
    shown = {name: of[:MOST_AGGREGATED] for name, of in shown.items()}
    first = next(iter(shown.values()))
    columns = min(tokens_shown, min(of.shape[1] for of in maps.values()))
    if columns < 1:
        raise ValueError(f"tokens_shown must be 1 or more, got {tokens_shown}")
    chosen = {
        name: [_strongest(of, columns) for of in maps[name][: len(first)]]
        for name in maps
    }
    drawn = [
        maps[name][row][of] for name in maps for row, of in enumerate(chosen[name])
    ]
    top = float(max(np.percentile(drawn, 99.5), 1e-6))
    norm = PowerNorm(0.5, 0, top, clip=True)
    groups = [len(shown)] * len(first)
    height, width = panels.cell(first, 1.2)
    figure, axes = grouped_panels(groups, (1, columns), (height, width), 0.2, 1.6, 0.35)
    for row, line in enumerate(axes):
        sample, name = row // len(shown), list(shown)[row % len(shown)]
        image, of_sample = shown[name][sample], maps[name][sample]
        panels.picture(line[0], image)
        line[0].set_ylabel(files.short(name, 12), fontsize=10, fontweight="bold")
        quiet = faded(image, of_sample.any(axis=0))
        for panel, token in zip(line[1:], chosen[name][sample], strict=True):
            _heat(panel, quiet, np.ma.masked_equal(of_sample[token], 0), norm)
            panel.set_title(f"token {token}", fontsize=8, fontweight="normal", pad=2)
    between = " " if figure.get_figwidth() > NARROW else "\n"
    figure.suptitle(f"Aggregated tokens{between}with the highest weights")
    bar = _colour_bar(figure, list(axes.flat), norm, np.max(drawn) > top)
    bar.set_label("share of the patch\nin the token", fontsize=9)
    bar.set_ticks([top * of**2 for of in (0, 0.25, 0.5, 0.75, 1)])  # at even distances
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda of, _: f"{100 * of:.2g} %"))
    return files.save(figure, path)


def grouped_panels(
    rows: Sequence[int],
    columns: Sequence[int],
    cell: tuple[float, float],
    above: float,
    right: float = 0.0,
    top: float = 0.1,
) -> tuple[Figure, np.ndarray]:
    """Make a figure of panels without ticks, with a gap between groups of them.

    Args:
      rows: how many rows each group has; columns likewise.
      cell: height and width of a panel in inches.
      above: inches that a title takes above every panel.
      right: inches for what stands beside the panels; top: above them.

    Returns the figure and the axes (sum of rows, sum of columns).
    """
    heights, in_rows = _with_gaps(rows, cell[0])
    widths, in_columns = _with_gaps(columns, cell[1])
    figure, grid = files.new_figure(
        max(sum(widths) + 2 * PAD * len(widths) + right, 2.6),
        max(sum(heights) + (2 * PAD + above) * sum(rows) + top, 2.3),
        len(heights),
        len(widths),
    )
    figure.set_layout_engine("constrained", w_pad=PAD, h_pad=PAD, wspace=0, hspace=0)
    spec = grid[0, 0].get_gridspec()
    spec.set_height_ratios(heights)
    spec.set_width_ratios(widths)
    panels.without_ticks(grid.flat)
    for axes in [*grid[~in_rows].flat, *grid[in_rows][:, ~in_columns].flat]:
        axes.remove()
    return figure, grid[in_rows][:, in_columns]


def _with_gaps(groups: Sequence[int], size: float) -> tuple[list[float], np.ndarray]:
    """Return the sizes of all lines of a grid, and which of them are no gaps."""
    lines: list[float] = []
    for count in groups:
        lines += ([GAP] if lines else []) + [size] * count
    return lines, np.array(lines) != GAP


def _pairs(shown: ByModality, right: float) -> tuple[Figure, dict[str, np.ndarray]]:
    """Return by modality axes (2, samples): with the images, and for their maps."""
    first = next(iter(shown.values()))
    count = min(len(first), MOST_SAMPLES)
    figure, grid = grouped_panels(
        [count], [2] * len(shown), panels.cell(first), 0.0, right, 0.4
    )
    axes_of = {}
    for index, name in enumerate(shown):
        axes_of[name] = grid[:, 2 * index : 2 * index + 2].T  # (2, samples)
        for axes, image in zip(axes_of[name][0], shown[name], strict=False):
            panels.picture(axes, image)
    return figure, axes_of


def _checked_images(images: ByModality) -> dict[str, np.ndarray]:
    """Return images by modality as (n, h, w, 3) in 0..1."""
    shown = {name: displayable(of) for name, of in images.items()}
    counts = {name: len(of) for name, of in shown.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"every modality needs as many images, got {counts}")
    return shown


def _checked_maps(
    kind: str,
    maps: ByModality,
    images: ByModality,
    grid: tuple[int, int],
    stacked: bool = False,
) -> dict[str, np.ndarray]:
    """Return (n, rows, columns) by modality, `stacked` (n, any, rows, columns)."""
    if maps.keys() != images.keys():
        raise ValueError(f"{kind} are of {list(maps)}, images of {list(images)}")
    rows, columns = grid
    checked = {}
    for name in images:
        values = np.asarray(maps[name], np.float64)
        wanted = (len(images[name]), *values.shape[1:-1], rows * columns)
        if values.ndim != 2 + stacked or values.shape != wanted or values.size == 0:
            raise ValueError(
                f"{kind} of {name} must be ({len(images[name])}, "
                f"{'some, ' if stacked else ''}{rows} * {columns}), "
                f"got shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{kind} of {name} must be finite")
        checked[name] = values.reshape(*values.shape[:-1], rows, columns)
    return checked


def _strongest(maps: np.ndarray, count: int) -> np.ndarray:
    """Return which tokens of (any, rows, columns) have the highest single weight."""
    return np.argsort(-maps.max(axis=(1, 2)), kind="stable")[:count]


def _heat(axes: Axes, image: np.ndarray, values: np.ndarray, norm: Normalize) -> None:
    # Half the image's contrast, so that what shines through cannot pass for heat.
    panels.overlay(axes, 0.25 + 0.5 * image, values, norm, HEAT, 0.75)


def _colour_bar(
    figure: Figure, all_axes: list[Axes], norm: Normalize, cut: bool = False
) -> Colorbar:
    length = min(figure.get_figheight(), BAR_LENGTH)
    bar = figure.colorbar(
        ScalarMappable(norm, HEAT),
        ax=all_axes,
        shrink=length / figure.get_figheight(),
        aspect=length / BAR_WIDTH,
        pad=0.02,
        extend="max" if cut else "neither",
    )
    bar.outline.set_visible(False)  # type: ignore[operator]
    return bar
