"""What a classifier confuses, and examples of it."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import PercentFormatter

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import displayable

MOST_COUNTS = 20  # classes up to which every cell gets its count
NO_IMAGE = "#DADCE0"  # rows of classes that none is of
MOST_LABELS = 120  # classes up to which every row and column gets its name


@files.styled
def confusion_matrix(
    matrix: np.ndarray, class_names: Sequence[str], path: str | os.PathLike[str]
) -> pathlib.Path:
    """Draw counts by true (rows) and predicted (columns) class.

    Colours are shares of a row, which is grey where there is no image of the class. Up
    to 20 classes each cell also has its count; above,
    colours follow the square root of the share, so that rare confusions show.

    Args:
      matrix: (classes, classes) counts.
      class_names: one per class.
      path: the PNG to write.

    Raises:
      ValueError: a matrix that is not square, negative, or without names for it.
    """
    matrix = np.asarray(matrix)
    count = len(class_names)
    if count == 0 or matrix.shape != (count, count) or matrix.min() < 0:
        raise ValueError(
            f"the matrix must be ({count}, {count}) counts for {count} class names, "
            f"got shape {matrix.shape}"
        )
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.where(totals, matrix / np.maximum(totals, 1), np.nan)  # as `matrix`
    side = float(np.clip(3.2 + 0.42 * count, 5.0, 15.0))
    figure, grid = files.new_figure(side + 1.0, side)
    axes = grid[0, 0]
    norm = PowerNorm(1.0 if count <= MOST_COUNTS else 0.5, 0, 1)
    colours = colormaps["Blues"].with_extremes(bad=NO_IMAGE)
    picture = axes.imshow(shares, cmap=colours, norm=norm)
    _name_classes(axes, class_names)
    if count <= MOST_COUNTS:
        _write_counts(axes, matrix, shares)
    bar = figure.colorbar(picture, ax=axes, shrink=0.7, aspect=30, pad=0.02)
    bar.set_label("share of the true class")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    bar.outline.set_visible(False)  # type: ignore[operator]
    axes.set_title(_matrix_title(matrix), pad=10)
    axes.set(xlabel="predicted class", ylabel="true class")
    return files.save(figure, path)


def _matrix_title(matrix: np.ndarray) -> str:
    """Say what share is right, and what grey rows are where there are any."""
    total, absent = int(matrix.sum()), int((matrix.sum(axis=1) == 0).sum())
    if not total:
        return "Confusion matrix: no image of any class"
    title = f"Confusion matrix: {np.trace(matrix) / total:.1%} of {total:,} right"
    return f"{title}\ngrey: {absent} without an image" if absent else title


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    count = len(class_names)
    step = -(-count // MOST_LABELS)  # 1 unless names would overlap
    ticks = range(0, count, step)
    names = [files.short(class_names[tick], 18) for tick in ticks]
    size = float(np.clip(11 - 0.06 * len(ticks), 5.5, 10))
    upright = count > 12 or max(map(len, names)) > 4
    axes.set_xticks(ticks, names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if count <= 40:
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.2)
        axes.tick_params(which="minor", length=0)


def _write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    longest = len(f"{int(matrix.max())}")
    size = 9.5 if longest <= 4 else 8.0 if longest <= 6 else 6.5
    for (row, column), value in np.ndenumerate(matrix):
        if value:
            colour = "white" if shares[row, column] > 0.55 else "#202124"
            text = f"{int(value)}"
            axes.text(
                column, row, text, ha="center", va="center", color=colour, fontsize=size
            )


@files.styled
def predictions(
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    probabilities: np.ndarray | None = None,
) -> pathlib.Path:
    """Draw a sheet of images with what was predicted; wrong ones are marked.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1.
      labels: (n,) true classes.
      predictions: (n,) predicted classes.
      class_names: one per class.
      path: the PNG to write.
      probabilities: (n,) of the predicted classes, 0..1.

    Raises:
      ValueError: shapes that disagree, or a class without a name.
    """
    shown = displayable(images)  # (n, h, w, 3)
    _check_sheet(len(shown), labels, predictions, class_names, probabilities)
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    width = max(1.55 * columns, 5.0)
    figure, grid = files.new_figure(width, 1.88 * rows + 0.5, rows, columns)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for index, axes in enumerate(grid.flat[: len(shown)]):
        label, predicted = int(labels[index]), int(predictions[index])
        chance = "" if probabilities is None else f" {probabilities[index]:.0%}"
        _picture(axes, shown[index], label == predicted)
        title = f"{files.short(class_names[predicted], 14)}{chance}"
        if label != predicted:
            title += f"\ntrue: {files.short(class_names[label], 14)}"
        colour = files.GREEN if label == predicted else files.VERMILION
        axes.set_title(title, fontsize=8.5, color=colour, pad=4)
    right = int(np.sum(np.asarray(labels) == np.asarray(predictions)))
    figure.suptitle(f"Predictions: {right} of {len(shown)} right")
    return files.save(figure, path)


def _check_sheet(
    count: int,
    labels: np.ndarray,
    predictions: np.ndarray,
    class_names: Sequence[str],
    probabilities: np.ndarray | None,
) -> None:
    given = [("labels", labels), ("predictions", predictions)]
    given += [] if probabilities is None else [("probabilities", probabilities)]
    for kind, values in given:
        if np.shape(values) != (count,):
            raise ValueError(f"{kind} must be ({count},), got shape {np.shape(values)}")
    classes = np.concatenate([labels, predictions])
    if classes.min() < 0 or classes.max() >= len(class_names):
        raise ValueError(
            f"classes must be within 0..{len(class_names) - 1}, "
            f"got {classes.min()}..{classes.max()}"
        )


def _picture(axes: Axes, image: np.ndarray, right: bool) -> None:
    """Draw an image (h, w, 3), framed by whether it was classified right."""
    panels.picture(axes, image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(files.GREEN if right else files.VERMILION)
    axes.spines[:].set_linewidth(1.2 if right else 3)
