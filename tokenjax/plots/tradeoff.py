"""Accuracy against latency: which models no other one beats in both."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from tokenjax.plots import figure_files as files
from tokenjax.plots.dot_names import name_dots

LARGEST, SMALLEST = 900.0, 30.0  # points^2, area of a dot
WITHOUT_PARAMETERS = 90.0
LOGARITHMIC_FROM = 6.0  # ratio of latencies


@files.styled
def accuracy_over_latency(
    points: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    latency_label: str = "latency (ms)",
) -> pathlib.Path:
    """Draws models by latency and accuracy, and the front that none is better than.

    Args:
      points: {"name", "accuracy", "latency_ms"} and, where known, "latency_std_ms" and
        "parameters". Accuracies are fractions; where any is above 1, all are percent.
      path: the PNG to write.
      latency_label: what the horizontal axis says.

    Areas of dots are in proportion to parameters (down to a least one that can be
    seen). The front joins the models that no other is both as fast and as accurate as;
    between them it says what the faster of two reaches.

    Raises:
      ValueError: no points, a point without its keys, values that are not finite or
        latencies that are not above 0.
    """
    _check(points)
    unit = 1.0 if max(point["accuracy"] for point in points) > 1 else 100.0
    accuracy = np.array([point["accuracy"] for point in points], float) * unit
    latency = np.array([point["latency_ms"] for point in points], float)
    spread = np.array([_known(point, "latency_std_ms") for point in points])
    areas = _areas(points)
    figure, grid = files.new_figure(7.4, 5.0)
    axes = grid[0, 0]
    below = np.minimum(spread, 0.9 * latency)  # logarithms want what is above 0
    _limits(axes, latency - below, latency + spread, accuracy)
    front = pareto_front(latency, accuracy)
    corners = _steps(latency[front], accuracy[front], axes.get_xlim()[1])
    axes.plot(
        *corners.T,
        color=files.GREY,
        linestyle="--",
        linewidth=1.3,
        label="Pareto front: best accuracy at this latency or less",
        zorder=1,
    )
    axes.errorbar(
        latency,
        accuracy,
        xerr=np.stack([below, spread]),  # (2, points)
        fmt="none",
        ecolor="#9AA0A6",
        elinewidth=1.2,
        capsize=2.5,
        zorder=2,
    )
    colours = [files.COLOURS[index % len(files.COLOURS)] for index in range(len(areas))]
    axes.scatter(
        latency, accuracy, s=areas, c=colours, alpha=0.85, edgecolors="white", zorder=3
    )
    axes.set(xlabel=latency_label, ylabel="accuracy (%)")
    axes.set_title("Accuracy over latency", pad=24)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), borderaxespad=0)
    files.light_grid(axes)
    figure.draw_without_rendering()  # the layout, which pixels depend on
    places = np.stack([latency, accuracy], 1)  # (points, 2)
    spreads = np.stack([places, places], 1)  # (points, 2, 2)
    spreads[:, 0, 0] -= below
    spreads[:, 1, 0] += spread
    lines = [*spreads, *np.stack([corners[:-1], corners[1:]], 1)]
    name_dots(axes, [_text(point) for point in points], places, areas, lines)
    return files.save(figure, path)


def pareto_front(latency: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Indices, fastest first, of the points that are more accurate than all faster."""
    best, front = -np.inf, []
    for index in np.lexsort((-accuracy, latency)):
        if accuracy[index] > best:
            best = accuracy[index]
            front.append(index)
    return np.array(front)


def _check(points: Sequence[Mapping[str, Any]]) -> None:
    if not points:
        raise ValueError("no points to draw")
    for point in points:
        needed = {"name", "accuracy", "latency_ms"}
        if (
            needed - point.keys()
            or not np.isfinite([point["accuracy"], point["latency_ms"]]).all()
            or point["latency_ms"] <= 0
        ):
            raise ValueError(
                "a point needs a name, an accuracy and a latency_ms above 0, "
                f"got {dict(point)}"
            )


def _known(point: Mapping[str, Any], key: str) -> float:
    """The value, 0 where there is none."""
    value = point.get(key)
    return 0.0 if value is None or not np.isfinite(value) else float(value)


def _areas(points: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Areas of the dots, (points,)."""
    parameters = np.array([_known(point, "parameters") for point in points])
    if not parameters.any():
        return np.full(len(points), WITHOUT_PARAMETERS)
    return np.maximum(LARGEST * parameters / parameters.max(), SMALLEST)


def _steps(latency: np.ndarray, accuracy: np.ndarray, end: float) -> np.ndarray:
    """Corners (any, 2) of the steps through points in order, on to the right `end`."""
    nexts = np.append(latency[1:], end)
    before = np.stack([latency, accuracy], 1)
    after = np.stack([nexts, accuracy], 1)
    return np.stack([before, after], 1).reshape(-1, 2)


def _limits(
    axes: Axes, least: np.ndarray, most: np.ndarray, accuracy: np.ndarray
) -> None:
    """Axes wide enough for the spreads and for the names beside the dots."""
    low, high = least.min(), most.max()
    if high / low > LOGARITHMIC_FROM:
        axes.set_xscale("log")
        margin = (high / low) ** 0.15
        axes.set_xlim(low / margin, high * margin)
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    else:
        margin = max(0.2 * (high - low), 0.1 * high)
        axes.set_xlim(max(low - margin, 0), high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    low, high = accuracy.min(), accuracy.max()
    margin = max(0.25 * (high - low), 0.5)
    axes.set_ylim(max(low - margin, 0), high + margin)
    bottom, top = axes.get_ylim()
    ticks = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(bottom, top)
    axes.set_yticks([tick for tick in ticks if bottom <= tick <= min(top, 100)])


def _text(point: Mapping[str, Any]) -> str:
    parameters = _known(point, "parameters")
    name = files.short(str(point["name"]), 28)
    return f"{name}\n{parameters / 1e6:.3g} M" if parameters else name
