"""What routing saves: time over the share of patches that the big network computes."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from tokenjax.plots import figure_files as files

KEYS = ("batch_size", "share", "ratio", "ideal")


@files.styled
def routing_cost(
    points: Sequence[files.Point],
    path: str | os.PathLike[str],
    machine: str = "",
) -> pathlib.Path:
    """Draw time relative to the big network on every patch, a line per batch size.

    Args:
      points: {"batch_size", "share", "ratio", "ideal"}: the share of patches selected,
        the time measured and what FLOPs alone would leave of it, both relative to the
        big network on every patch.
      path: the PNG to write.
      machine: what it was measured on, for the title.

    Raises:
      ValueError: no points, a point without its keys, or values that are not finite.
    """
    if not points:
        raise ValueError("no points to draw")
    for point in points:
        if not all(np.isfinite(point.get(key, np.nan)) for key in KEYS):
            raise ValueError(f"a point needs {', '.join(KEYS)}, got {dict(point)}")
    figure, grid = files.new_figure(6.6, 4.6)
    axes = grid[0, 0]
    style: files.Style = {"color": files.GREY, "linewidth": 1.3}
    axes.axhline(1, linestyle=":", label="big network on every patch", **style)
    batch_sizes = sorted({point["batch_size"] for point in points})
    for index, batch_size in enumerate(batch_sizes):
        chosen = [point for point in points if point["batch_size"] == batch_size]
        axes.plot(
            *_line(chosen, "ratio"),
            color=files.COLOURS[index % len(files.COLOURS)],
            marker="o",
            markersize=5,
            linewidth=1.8,
            label="1 image" if batch_size == 1 else f"{batch_size} images",
        )
    axes.plot(*_line(points, "ideal"), linestyle="--", label="by FLOPs alone", **style)
    axes.set_title("Routed patches: time by share selected", pad=22 if machine else 8)
    if machine:
        place: files.Style = {"ha": "center", "transform": axes.transAxes}
        axes.text(0.5, 1.02, machine, color=files.GREY, fontsize=9.5, **place)
    axes.set(xlabel="share of patches to the big network")
    axes.set_ylabel("time / big network on every patch")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(loc="lower right")
    files.light_grid(axes)
    return files.save(figure, path)


def _line(points: Sequence[files.Point], key: str) -> np.ndarray:
    """Return shares in order and the values at them, (2, points)."""
    return np.array(sorted((point["share"], point[key]) for point in points)).T
