"""Latency over FLOPs: what a model's sums say, and what they take."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from tokenjax.plots import figure_files as files
from tokenjax.plots.dot_names import name_dots

LARGEST, SMALLEST = 900.0, 30.0  # points^2, area of a dot
_LINE: files.Style = {"linestyle": "--", "color": files.GREY, "linewidth": 1}


@files.styled
def latency_over_flops(
    points: Sequence[files.Point],
    path: str | os.PathLike[str],
    label: str = "latency (ms)",
) -> pathlib.Path:
    """Draw models by FLOPs and latency, both axes logarithmic.

    Args:
      points: {"name", "gflops", "latency_ms" (both per image), "parameters"}, all
        above 0.
      path: the PNG to write.
      label: what the vertical axis says.

    Areas of dots are in proportion to parameters, down to a least one that can be seen.
    Dashed lines join equal FLOPs a second through the slowest and the fastest model.

    Raises:
      ValueError: no points, or a value that is not above 0.
    """
    if not points:
        raise ValueError("no points to draw")
    keys = ("gflops", "latency_ms", "parameters")
    values = np.array([[point[key] for key in keys] for point in points], float)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("gflops, latency_ms and parameters must all be above 0")
    flops, latency, parameters = values.T
    areas = np.maximum(LARGEST * parameters / parameters.max(), SMALLEST)
    figure, grid = files.new_figure(7.6, 5.4)
    axes = grid[0, 0]
    for axis, numbers in (("x", flops), ("y", latency)):
        low, high = numbers.min(), numbers.max()
        margin = max((high / low) ** 0.18, 1.5)
        axes.set(**{f"{axis}scale": "log", f"{axis}lim": (low / margin, high * margin)})
    colours = [files.COLOURS[index % len(files.COLOURS)] for index in range(len(areas))]
    axes.scatter(
        flops, latency, s=areas, c=colours, alpha=0.85, edgecolors="white", zorder=3
    )
    _rates(axes, flops / latency)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set(xlabel="GFLOPs per image (2 per multiply-add)", ylabel=label)
    axes.set_title("Latency over FLOPs; area: parameters")
    files.light_grid(axes)
    figure.draw_without_rendering()  # the layout, which pixels depend on
    names = [
        f"{files.in_lines(str(point['name']), 28)}\n{point['parameters'] / 1e6:.3g} M"
        for point in points
    ]
    name_dots(axes, names, np.stack([flops, latency], 1), areas, [])
    return files.save(figure, path)


def _rates(axes: Axes, rates: np.ndarray) -> None:
    """Draw lines of equal GFLOPs per millisecond: the least, and the greatest."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    least, most = float(rates.min()), float(rates.max())
    for rate in {least, most}:
        axes.plot([left, right], [left / rate, right / rate], **_LINE)
    ends = {least: min(right, top * least) / 1.05}
    if most > least:
        ends[most] = max(left, bottom * most) * 1.05
    for rate, x in ends.items():
        upper = rate == least
        axes.annotate(
            _rate(rate),
            (x, x / rate),
            (-6, 0) if upper else (8, 0),
            textcoords="offset points",
            ha="right" if upper else "left",
            va="top" if upper else "bottom",
            fontsize=8.5,
            color=files.GREY,
            path_effects=files.HALO,
        )
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _rate(rate: float) -> str:
    """Write GFLOPs in a millisecond as TFLOPs in a second, which they are."""
    return f"{rate:.3g} TFLOP/s" if rate >= 1 else f"{1e3 * rate:.3g} GFLOP/s"
