"""Accuracy against what it costs: which models no other one beats in both."""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from tokenjax.plots import figure_files as files
from tokenjax.plots.dot_names import name_dots

LARGEST, SMALLEST = 900.0, 30.0  # points^2, area of a dot
WITHOUT_PARAMETERS = 90.0
MOST_NAMES = 10  # of more points, dots are numbered and a list says the names
NUMBERED = 45.0  # area of a dot then
LOGARITHMIC_FROM = 6.0  # ratio of costs


class _Cost(NamedTuple):
    """What the horizontal axis is of."""

    name: str  # in the title
    key: str  # in a point
    spread_key: str | None
    limit: str  # what the front says that a model has at most


_LATENCY = _Cost("latency", "latency_ms", "latency_std_ms", "this latency or less")
_FLOPS = _Cost("FLOPs", "mflops", None, "these FLOPs or fewer")


def accuracy_over_latency(
    points: Sequence[files.Point],
    path: str | os.PathLike[str],
    latency_label: str = "latency (ms)",
) -> pathlib.Path:
    """Draw models by latency and accuracy, and the front that none is better than.

    Args:
      points: {"name", "accuracy", "latency_ms"} and, where known, "latency_std_ms" and
        "parameters". Accuracies are fractions; where any is above 1, all are percent.
      path: the PNG to write.
      latency_label: what the horizontal axis says.

    Areas of dots are in proportion to parameters (down to a least one that can be
    seen), unless there are more than 10 points, which are numbered. The front joins the
    models that no other is both as fast and as accurate as; between them it says what
    the faster of two reaches. Points whose accuracy or latency is None are left out,
    and the title says how many.

    Raises:
      ValueError: no points to draw, a point without its keys, values that are not
        finite or latencies that are not above 0.
    """
    return _accuracy_over(_LATENCY, points, path, latency_label)


def accuracy_over_flops(
    points: Sequence[files.Point],
    path: str | os.PathLike[str],
    label: str = "MFLOPs per image (2 per multiply-add)",
) -> pathlib.Path:
    """Draw models by FLOPs and accuracy, as `accuracy_over_latency` does by latency.

    Args:
      points: {"name", "accuracy", "mflops"} and, where known, "parameters". Accuracies
        are fractions; where any is above 1, all are percent.
      path: the PNG to write.
      label: what the horizontal axis says.

    Raises:
      ValueError: no points to draw, a point without its keys, values that are not
        finite or FLOPs that are not above 0.
    """
    return _accuracy_over(_FLOPS, points, path, label)


@files.styled
def _accuracy_over(
    cost: _Cost,
    points: Sequence[files.Point],
    path: str | os.PathLike[str],
    label: str,
) -> pathlib.Path:
    given = len(points)
    points = [
        p for p in points if None not in (p.get("accuracy", 0), p.get(cost.key, 0))
    ]
    _check(points, cost)
    unit = 1.0 if max(point["accuracy"] for point in points) > 1 else 100.0
    accuracy = np.array([point["accuracy"] for point in points], float) * unit
    costs = np.array([point[cost.key] for point in points], float)
    spread = np.array([_known(point, cost.spread_key) for point in points])
    many = len(points) > MOST_NAMES
    areas = np.full(len(points), NUMBERED) if many else _areas(points)
    figure, grid = files.new_figure(9.6 if many else 7.4, 5.6 if many else 5.0)
    axes = grid[0, 0]
    below = np.minimum(spread, 0.9 * costs)  # logarithms want what is above 0
    _limits(axes, costs - below, costs + spread, accuracy)
    corners = _draw_front(axes, costs, accuracy, cost.limit)
    axes.errorbar(
        costs,
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
        costs, accuracy, s=areas, c=colours, alpha=0.85, edgecolors="white", zorder=3
    )
    axes.set(xlabel=label, ylabel="accuracy (%)")
    absent = given - len(points)
    beside = f" ({absent} of {given} not measured)" if absent else ""
    axes.set_title(f"Accuracy over {cost.name}{beside}", pad=24)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), borderaxespad=0)
    files.light_grid(axes)
    texts = [_text(point) for point in points]
    if many:
        texts = [str(number) for number in range(1, len(points) + 1)]
        _number_legend(figure, points, colours)
    figure.draw_without_rendering()  # the layout, which pixels depend on
    places = np.stack([costs, accuracy], 1)  # (points, 2)
    spreads = np.stack([places, places], 1)  # (points, 2, 2)
    spreads[:, 0, 0] -= below
    spreads[:, 1, 0] += spread
    lines = [*spreads, *np.stack([corners[:-1], corners[1:]], 1)]
    name_dots(axes, texts, places, areas, lines)
    return files.save(figure, path)


def _number_legend(
    figure: Figure, points: Sequence[files.Point], colours: Sequence[str]
) -> None:
    """Say on the right what the numbers beside the dots mean."""
    handles = [
        Line2D(
            [], [], marker="o", linestyle="", color=colour, label=f"{number}  {name}"
        )
        for number, (colour, name) in enumerate(
            zip(
                colours, (files.short(str(p["name"]), 30) for p in points), strict=True
            ),
            start=1,
        )
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8.5)


def _draw_front(
    axes: Axes, costs: np.ndarray, accuracy: np.ndarray, limit: str
) -> np.ndarray:
    """Draw the front as steps to the right end of the axes; return their corners."""
    front = pareto_front(costs, accuracy)
    corners = _steps(costs[front], accuracy[front], axes.get_xlim()[1])
    axes.plot(
        *corners.T,
        color=files.GREY,
        linestyle="--",
        linewidth=1.3,
        label=f"Pareto front: best accuracy at {limit}",
        zorder=1,
    )
    return corners


def pareto_front(costs: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Return which points are more accurate than all cheaper ones, cheapest first."""
    best, front = -np.inf, []
    for index in np.lexsort((-accuracy, costs)):
        if accuracy[index] > best:
            best = accuracy[index]
            front.append(index)
    return np.array(front)


def _check(points: Sequence[files.Point], cost: _Cost) -> None:
    if not points:
        raise ValueError("no points to draw")
    for point in points:
        needed = {"name", "accuracy", cost.key}
        if (
            needed - point.keys()
            or not np.isfinite([point["accuracy"], point[cost.key]]).all()
            or point[cost.key] <= 0
        ):
            raise ValueError(
                f"a point needs a name, an accuracy and {cost.key} above 0, "
                f"got {dict(point)}"
            )


def _known(point: files.Point, key: str | None) -> float:
    """Return the value, 0 where there is none."""
    value = None if key is None else point.get(key)
    return 0.0 if value is None or not np.isfinite(value) else float(value)


def _areas(points: Sequence[files.Point]) -> np.ndarray:
    """Return the areas of the dots, (points,)."""
    parameters = np.array([_known(point, "parameters") for point in points])
    if not parameters.any():
        return np.full(len(points), WITHOUT_PARAMETERS)
    return np.maximum(LARGEST * parameters / parameters.max(), SMALLEST)


def _steps(costs: np.ndarray, accuracy: np.ndarray, end: float) -> np.ndarray:
    """Return corners (any, 2) of the steps through points, on to the right `end`."""
    nexts = np.append(costs[1:], end)
    before = np.stack([costs, accuracy], 1)
    after = np.stack([nexts, accuracy], 1)
    return np.stack([before, after], 1).reshape(-1, 2)


def _limits(
    axes: Axes, least: np.ndarray, most: np.ndarray, accuracy: np.ndarray
) -> None:
    """Make the axes wide enough for spreads and for names beside the dots."""
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


def _text(point: files.Point) -> str:
    parameters = _known(point, "parameters")
    name = files.in_lines(str(point["name"]), 28)
    return f"{name}\n{parameters / 1e6:.3g} M" if parameters else name
