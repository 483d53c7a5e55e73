"""Variants of a model against each other, one panel for each data set."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tokenjax import tables
from tokenjax.plots import figure_files as files


@files.styled
def accuracy_bars(
    rows: Sequence[files.Point],
    path: str | os.PathLike[str],
    label: str = "accuracy",
) -> pathlib.Path:
    """Draw accuracies as horizontal bars with their standard deviations.

    Args:
      rows: {"variant", "dataset", "mean", "std"}, drawn in this order from the top.
        Means and deviations are fractions; where any mean is above 1, all are percent.
        A mean of None has no bar, and "not measured" in its place; a "std" that is
        missing, None or NaN has no error bar.
      path: the PNG to write.
      label: what the means are of.

    The accuracy axis begins below the least value, not at 0, and says so. A variant has
    one colour in all panels.

    Raises:
      ValueError: no rows with a mean, a row without its keys, or a mean that is not
        finite.
    """
    means = [_checked_mean(row) for row in rows]
    if all(np.isnan(means)):
        raise ValueError("no rows to draw")
    unit = 1.0 if np.nanmax(means) > 1 else 100.0
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    colours = {
        name: files.COLOURS[index % len(files.COLOURS)]
        for index, name in enumerate(variants)
    }
    groups = [[row for row in rows if row["dataset"] == name] for name in datasets]
    columns = 2 if len(datasets) == 4 else min(3, len(datasets))
    lines = -(-len(datasets) // columns)
    height = (0.42 * max(map(len, groups)) + 1.4) * lines
    figure, grid = files.new_figure(
        4.9 * columns + 0.6, max(height, 2.4), lines, columns
    )
    for axes in grid.flat[len(datasets) :]:
        axes.set_visible(False)
    for axes, dataset, group in zip(grid.flat, datasets, groups, strict=False):
        _panel(axes, group, colours, unit, label)
        axes.set_title(dataset)
    return files.save(figure, path)


def _checked_mean(row: files.Point) -> float:
    """Return a row's mean, NaN where it was not measured.

    Raises: ValueError for a row without its keys, or a mean that is not finite.
    """
    missing = {"variant", "dataset", "mean"} - row.keys()
    mean = np.nan if missing or row["mean"] is None else float(row["mean"])
    if missing or (row["mean"] is not None and not np.isfinite(mean)):
        raise ValueError(f"a row needs a variant, a dataset and a mean, got {row}")
    return mean


def _panel(
    axes: Axes,
    rows: Sequence[files.Point],
    colours: dict[str, str],
    unit: float,
    label: str,
) -> None:
    means = np.array([_checked_mean(row) for row in rows]) * unit
    spreads = np.array([_spread(row) for row in rows]) * unit
    positions = np.arange(len(rows))
    measured = np.flatnonzero(~np.isnan(means))
    ends = (means - spreads)[measured], (means + spreads)[measured]
    low, high = (ends[0].min(), ends[1].max()) if len(measured) else (0.0, 0.0)
    margin = max(high - low, 1.0)
    start, end = max(0.0, low - 0.35 * margin), high + 0.55 * margin
    axes.barh(
        positions[measured],
        (means - start)[measured],
        left=start,
        height=0.68,
        color=[colours[rows[int(index)]["variant"]] for index in measured],
    )
    digits = 1 if high - low > 1 else 2
    known = (spreads > 0) & ~np.isnan(means)
    axes.errorbar(
        means[known],
        positions[known],
        xerr=spreads[known],
        fmt="none",
        ecolor="#202124",
        elinewidth=1.3,
        capsize=3,
    )
    for position, mean, spread in zip(positions, means, spreads, strict=True):
        text, end_of_bar = tables.NOT_MEASURED, start
        if not np.isnan(mean):
            text = f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread else "")
            end_of_bar = mean + spread
        axes.annotate(
            text,
            (end_of_bar, position),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(positions, [str(row["variant"]) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(start, end)
    ticks = MaxNLocator(5).tick_values(start, end)
    axes.set_xticks([tick for tick in ticks if start <= tick <= min(end, 100)])
    note = "" if start == 0 else f", axis from {start:.1f}"
    axes.set_xlabel(f"{label} (%{note})")
    files.light_grid(axes, "x")


def _spread(row: files.Point) -> float:
    value = row.get("std")
    return 0.0 if value is None or not np.isfinite(value) else float(value)
