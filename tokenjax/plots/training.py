"""Curves of a training run from its logged rows."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tokenjax.plots import figure_files as files

TRAIN, VALIDATION = files.BLUE, files.VERMILION


@files.styled
def training_curves(
    history: Sequence[files.Point], path: str | os.PathLike[str]
) -> pathlib.Path:
    """Draw loss, accuracy and learning rate over steps.

    Args:
      history: rows of metrics.jsonl in any order. Each has "step" and any of
        "train/loss", "train/accuracy", "train/learning_rate", "validation/loss",
        "validation/top1" (or "validation/accuracy"); accuracies are fractions. Other
        keys, missing ones and values that are not finite are passed over.
      path: the PNG to write.

    A panel nobody logged is left out. Training curves are smoothed over about a
    twentieth of the run, the raw curve faint behind; best validation values are in the
    legend.

    Raises:
      ValueError: no row has anything to draw.
    """
    panels = [
        ("Loss", "mean loss per example", ("loss",), ("loss",)),
        ("Accuracy", "share classified right", ("accuracy",), ("top1", "accuracy")),
        ("Learning rate", "learning rate", ("learning_rate",), ()),
    ]
    drawn = []
    for title, label, train_keys, validation_keys in panels:
        train = series(history, [f"train/{key}" for key in train_keys])
        validation = series(history, [f"validation/{key}" for key in validation_keys])
        if len(train) or len(validation):
            drawn.append((title, label, train, validation))
    if not drawn:
        raise ValueError(f"nothing to draw in {len(history)} rows of history")
    figure, grid = files.new_figure(4.6 * len(drawn), 3.7, columns=len(drawn))
    for axes, (title, label, train, validation) in zip(grid[0], drawn, strict=True):
        if title == "Learning rate":
            plain_curve(axes, train, color=files.GREEN)
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
            axes.set_ylim(bottom=0)
        else:
            _draw(axes, train, validation, best_is_high=title == "Accuracy")
        if title == "Accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axes.set(title=title, ylabel=label)
        step_axis(axes)
        files.light_grid(axes)
    return files.save(figure, path)


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Average values (n,) over `width` of them, centred, over fewer at the ends."""
    width = min(max(width, 1), len(values))
    window = np.ones(width)
    total = np.convolve(values, window, mode="same")
    return total / np.convolve(np.ones(len(values)), window, mode="same")


def series(history: Sequence[files.Point], keys: Sequence[str]) -> np.ndarray:
    """Return step and the first key that a row has, (points, 2), in order of steps."""
    points = {}
    for row in history:
        value = next((row[key] for key in keys if row.get(key) is not None), None)
        if value is not None and "step" in row and np.isfinite(value):
            points[float(row["step"])] = float(value)
    return np.array(sorted(points.items())).reshape(-1, 2)


def smoothed_curve(axes: Axes, points: np.ndarray, colour: str, label: str) -> None:
    """Draw points (n, 2) smoothed over a twentieth of them, raw ones faint behind."""
    steps, values = points.T
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
    axes.plot(
        steps,
        smooth(values, len(values) // 20),
        color=colour,
        linewidth=2,
        marker=few_marker(points),
        label=label,
    )


def step_axis(axes: Axes) -> None:
    """Scale steps from 0 on: those of a run of one row would be 7.6, 7.8, 8."""
    axes.set_xlabel("step")
    axes.set_xlim(0, 1.04 * max(axes.dataLim.x1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def plain_curve(axes: Axes, points: np.ndarray, **style: Any) -> None:
    """Draw points (n, 2) of a setting, which nobody measured, as they are."""
    axes.plot(*points.T, marker=few_marker(points), **{"linewidth": 2, **style})


def few_marker(points: np.ndarray) -> str | None:
    """Return the marker of a curve: one of a point or two would not be seen without."""
    return "o" if len(points) < 3 else None


def marked_curve(axes: Axes, points: np.ndarray, colour: str, label: str) -> None:
    """Draw points (n, 2) as they are, each marked where they are not too many."""
    size = 4 if len(points) <= 60 else 0
    axes.plot(
        *points.T, color=colour, linewidth=2, marker="o", markersize=size, label=label
    )


def _draw(
    axes: Axes, train: np.ndarray, validation: np.ndarray, best_is_high: bool
) -> None:
    """Draw both curves of a panel; train and validation (points, 2)."""
    if len(train):
        smoothed_curve(axes, train, TRAIN, "train")
    if len(validation):
        steps, values = validation.T
        best = values.argmax() if best_is_high else values.argmin()
        shown = f"{values[best]:.1%}" if best_is_high else f"{values[best]:.3g}"
        label = f"validation (best {shown} at {steps[best]:.0f})"
        marked_curve(axes, validation, VALIDATION, label)
    axes.legend(loc="best")
