"""What weights do over the values of one argument, none of them trained anew."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tokenjax.plots import figure_files as files

# (key of a point, title, axis, factor)
PANELS = (
    ("accuracy", "Accuracy", "%", 100.0),
    ("routing_ratio", "Patches to the big network", "%", 100.0),
    ("mflops", "FLOPs", "MFLOPs per image", 1.0),
    ("latency_ms", "Latency", "ms", 1.0),
)
LEAST_SPAN = 0.02  # of an axis, as a share of its values: noise is not to fill it


@files.styled
def sweep_panels(
    points: Sequence[files.Point],
    path: str | os.PathLike[str],
    name: str,
    latency_label: str = "ms",
) -> pathlib.Path:
    """Draw accuracy, share routed, FLOPs and latency over an argument's values.

    Args:
      points: {"value", "trained"} and any of "accuracy", "routing_ratio" (fractions),
        "mflops", "latency_ms" with "latency_low_ms" and "latency_high_ms"; None is not
        measured. Values are all numbers, or names.
      path: the PNG to write.
      name: of the argument.
      latency_label: what the axis of latencies says.

    The value that the weights were trained with is marked in every panel. A panel
    nobody measured is left out.

    Raises:
      ValueError: nothing to draw, or a value that is not finite.
    """
    panels = [p for p in PANELS if any(point.get(p[0]) is not None for point in points)]
    if not panels:
        raise ValueError(f"nothing to draw in {len(points)} points")
    values = [point["value"] for point in points]
    numbers = all(isinstance(v, int | float) and v is not True for v in values)
    places = np.array(values, float) if numbers else np.arange(len(values), dtype=float)
    if not np.isfinite(places).all():
        raise ValueError(f"values must be finite, got {values}")
    columns = 2 if len(panels) in (2, 4) else len(panels)
    rows = len(panels) // columns
    figure, grid = files.new_figure(4.4 * columns, 3.4 * rows, rows, columns)
    for axes, (key, title, label, factor) in zip(grid.flat, panels, strict=True):
        _draw(axes, points, places, key, factor)
        unit = latency_label if key == "latency_ms" else label
        axes.set(title=title, xlabel=name, ylabel=unit)
        if not numbers:
            axes.set_xticks(places, [files.short(str(value), 18) for value in values])
            axes.set_xlim(-0.5, len(values) - 0.5)
        files.light_grid(axes)
    if any(point["trained"] for point in points):
        grid[0, 0].legend(loc="best")
    return files.save(figure, path)


def _draw(
    axes: Axes,
    points: Sequence[files.Point],
    places: np.ndarray,
    key: str,
    factor: float,
) -> None:
    """Draw one panel, the trained value as a star on a dashed line."""
    heights = np.array([_number(point.get(key)) for point in points]) * factor
    axes.plot(places, heights, color=files.BLUE, marker="o", markersize=4)
    if key == "latency_ms":
        low = [_number(point.get("latency_low_ms")) for point in points]
        high = [_number(point.get("latency_high_ms")) for point in points]
        style: files.Style = {"color": files.BLUE, "alpha": 0.2, "linewidth": 0}
        axes.fill_between(places, low, high, **style)
    for point, place, height in zip(points, places, heights, strict=True):
        if not point["trained"]:
            continue
        value = point["value"]
        told = f"{value:.4g}" if isinstance(value, float) else str(value)
        axes.axvline(place, color=files.GREY, linestyle="--", linewidth=1, zorder=1)
        axes.plot(
            [place],
            [height],
            color=files.VERMILION,
            marker="*",
            markersize=13,
            linestyle="",
            label=f"trained ({told})",
        )
    _widen(axes, heights)


def _widen(axes: Axes, heights: np.ndarray) -> None:
    """Let an axis span at least a share of what it shows."""
    known = heights[np.isfinite(heights)]
    if not known.size:
        return
    least = LEAST_SPAN * max(float(np.abs(known).max()), 1e-6)
    bottom, top = axes.get_ylim()
    lacking = max(least - (top - bottom), 0.0) / 2
    axes.set_ylim(bottom - lacking, top + lacking)
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
