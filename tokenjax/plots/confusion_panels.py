"""What several classifiers confuse, side by side."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import PercentFormatter

from tokenjax.plots import figure_files as files

COLUMNS = 3
MOST_LABELS = 20  # classes up to which every row gets its name
MOST_SHARES = 10  # classes up to which every cell gets its share


@files.styled
def confusion_matrices(
    matrices: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw shares by true (rows) and predicted (columns) class, a panel for each.

    Args:
      matrices: by heading (classes, classes) counts.
      class_names: one per class.
      path: the PNG to write.

    Colours follow the square root of the share, so that rare confusions show. Up to 10
    classes, cells of 1 % or more have their share in percent.

    Raises:
      ValueError: no matrices, or one that is not square, negative or without names.
    """
    count = len(class_names)
    if not matrices:
        raise ValueError("there are no matrices to draw")
    for name, matrix in matrices.items():
        if np.shape(matrix) != (count, count) or np.min(matrix) < 0:
            raise ValueError(
                f"{name}: a matrix must be ({count}, {count}) counts, "
                f"got shape {np.shape(matrix)}"
            )
    columns = min(COLUMNS if len(matrices) != 4 else 2, len(matrices))
    rows = -(-len(matrices) // columns)
    side = float(np.clip(1.4 + 0.26 * count, 3.2, 6.0))
    figure, grid = files.new_figure(side * columns + 1.8, side * rows, rows, columns)
    for axes in grid.flat[len(matrices) :]:
        axes.set_visible(False)
    norm = PowerNorm(0.5, 0, 1)
    for index, (name, matrix) in enumerate(matrices.items()):
        axes = grid.flat[index]
        totals = matrix.sum(axis=1, keepdims=True)
        shares = np.where(totals, matrix / np.maximum(totals, 1), 0.0)
        picture = axes.imshow(shares, cmap=colormaps["Blues"], norm=norm)
        right = np.trace(matrix) / max(matrix.sum(), 1)
        axes.set_title(f"{name}: {right:.1%}", fontsize=11)
        below = index + columns >= len(matrices)
        _name_classes(axes, class_names, index % columns == 0, below)
        if count <= MOST_SHARES:
            _write_shares(axes, shares)
    bar = figure.colorbar(picture, ax=list(grid.flat), shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("share of the true class (row) that is called so (column)")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    bar.outline.set_visible(False)  # type: ignore[operator]
    return files.save(figure, path, dpi=90)


def _name_classes(
    axes: Axes, class_names: Sequence[str], beside: bool, below: bool
) -> None:
    """Write the classes' names at the panels of the left and of the lower edge."""
    step = -(-len(class_names) // MOST_LABELS)
    ticks = range(0, len(class_names), step)
    names = [files.short(class_names[tick], 14) for tick in ticks]
    blank = [""] * len(names)
    axes.set_yticks(ticks, names if beside else blank, fontsize=8)
    axes.set_xticks(ticks, names if below else blank, rotation=90, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _write_shares(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(shares):
        if value >= 0.01:
            colour = "white" if value > 0.35 else "#202124"
            style: files.Style = {"ha": "center", "va": "center", "fontsize": 7}
            axes.text(column, row, f"{100 * value:.0f}", color=colour, **style)
