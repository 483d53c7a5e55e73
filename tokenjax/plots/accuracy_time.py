"""Accuracy over measured time: ways to make one network faster, and its rivals."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tokenjax.plots import figure_files as files

KEYS = ("batch_size", "line", "tuned", "rival", "accuracy", "time")
WIDTH, HEIGHT = 3.9, 4.3  # inches of a panel
DEEPEST = 0.12  # of accuracy below the best: what is worse would press the rest flat
MARKERS = "oD^vPX*<"
COLOURS = (*(each for each in files.COLOURS if each != files.GREY), "#111111")
KINDS = {False: "off the shelf", True: "fine-tuned"}
RIVAL_MARKER, RIVAL_WIDTH = "s", 2.2


@files.styled
def accuracy_over_time(
    points: Sequence[files.Point],
    path: str | os.PathLike[str],
    title: str = "",
    reference: str = "the first",
    label: str = "test accuracy (%)",
) -> pathlib.Path:
    """Draw accuracy over time, a panel for each batch size.

    Where some points are fine-tuned and others are not, these have a row below.

    Args:
      points: {"batch_size", "line", "tuned", "rival", "accuracy", "time"} and, where
        known, "spread" (of the accuracy), "time_low" and "time_high". Accuracies, or
        their differences from another's, are fractions, times ratios to the
        reference's. Points of one line and of equal "tuned" are joined: off the shelf
        hollow and dashed, tuned filled; rivals are grey.
      path: the PNG to write.
      title: over all panels.
      reference: what has the time 1.
      label: of the accuracies.

    What is more than 12 % worse than the best is left out, and the panel says how many
    these are.

    Raises:
      ValueError: no points, or a point without its keys or with values that are not
        finite or times that are not above 0.
    """
    _check(points)
    sizes = sorted({point["batch_size"] for point in points})
    lines = list(dict.fromkeys(p["line"] for p in points if not p["rival"]))
    kinds = sorted({bool(point["tuned"]) for point in points})
    width, height = WIDTH * len(sizes) + 1.7, HEIGHT * len(kinds)
    figure, grid = files.new_figure(width, height, len(kinds), len(sizes))
    floor = max(point["accuracy"] for point in points) - DEEPEST
    for panels, tuned in zip(grid, kinds, strict=True):
        for axes, size in zip(panels, sizes, strict=True):
            own = [p for p in points if (p["batch_size"], p["tuned"]) == (size, tuned)]
            _draw_panel(axes, own, lines, tuned, floor)
            images = "1 image" if size == 1 else f"{size} images"
            kind = f", {KINDS[tuned]}" if len(kinds) > 1 else ""
            axes.set_title(images + kind)
            axes.set_xlabel(f"time / {files.short(reference, 24)}")
        panels[0].set_ylabel(label)
    spans = np.array([[axes.get_xlim(), axes.get_ylim()] for axes in grid.flat])
    low, high = spans[..., 0].min(axis=0), spans[..., 1].max(axis=0)  # of x and y
    for axes in grid.flat:
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    if title:
        figure.suptitle(title)
    figure.legend(handles=_legend(points, lines), loc="outside right upper")
    return files.save(figure, path)


def _draw_panel(
    axes: Axes,
    points: Sequence[files.Point],
    lines: Sequence[str],
    tuned: bool,
    floor: float,
) -> None:
    shown = [point for point in points if point["accuracy"] >= floor]
    rivals = [point for point in shown if point["rival"]]
    _draw_line(axes, rivals, files.GREY, RIVAL_MARKER, tuned, RIVAL_WIDTH)
    for index, line in enumerate(lines):
        chosen = [p for p in shown if p["line"] == line and not p["rival"]]
        _draw_line(axes, chosen, *_look(index), tuned)
    absent = len(points) - len(shown)
    if absent:
        text = f"{absent} left out, below {100 * floor:.0f}"
        place: files.Style = {"ha": "right", "transform": axes.transAxes}
        axes.text(0.98, 0.02, text, color=files.GREY, fontsize=8.5, **place)
    axes.axvline(1, color=files.GREY, linestyle=":", linewidth=1, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    files.light_grid(axes)


def _draw_line(
    axes: Axes,
    points: Sequence[files.Point],
    colour: str,
    marker: str,
    tuned: bool,
    width: float = 1.3,
) -> None:
    """Draw points joined by time, with their spreads."""
    if not points:
        return
    ordered = sorted(points, key=lambda point: point["time"])
    times = np.array([point["time"] for point in ordered], float)
    accuracy = np.array([100 * point["accuracy"] for point in ordered])
    below = times - np.array([_known(p, "time_low", p["time"]) for p in ordered])
    above = np.array([_known(p, "time_high", p["time"]) for p in ordered]) - times
    axes.errorbar(
        times,
        accuracy,
        yerr=[100 * _known(point, "spread", 0.0) for point in ordered],
        xerr=np.maximum([below, above], 0),  # (2, points)
        color=colour,
        marker=marker,
        markersize=6,
        markerfacecolor=colour if tuned else "white",
        linestyle="-" if tuned else "--",
        linewidth=width,
        elinewidth=0.8,
        zorder=3 if tuned else 2,
    )


def _legend(points: Sequence[files.Point], lines: Sequence[str]) -> list[Line2D]:
    """Return what colours and fillings mean."""
    names = dict.fromkeys(point["line"] for point in points if point["rival"])
    rival: files.Style = {"color": files.GREY, "linewidth": RIVAL_WIDTH}
    rival |= {"marker": RIVAL_MARKER}
    handles = [Line2D([], [], label=files.short(n, 24), **rival) for n in names]
    for index, line in enumerate(lines):
        colour, marker = _look(index)
        dot: files.Style = {"color": colour, "marker": marker, "linestyle": ""}
        handles.append(Line2D([], [], label=files.short(line, 24), **dot))
    grey: files.Style = {"color": files.GREY, "marker": "o"}
    if any(not point["tuned"] for point in points):
        style: files.Style = {"markerfacecolor": "white", "linestyle": "--"}
        handles.append(Line2D([], [], label=KINDS[False], **grey, **style))
    if any(point["tuned"] for point in points):
        handles.append(Line2D([], [], label=KINDS[True], **grey))
    return handles


def _look(index: int) -> tuple[str, str]:
    """Return a line's colour and marker; grey is the rivals'."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def _check(points: Sequence[files.Point]) -> None:
    if not points:
        raise ValueError("no points to draw")
    for point in points:
        finite = [point.get("accuracy", np.nan), point.get("time", np.nan)]
        if set(KEYS) - point.keys() or not np.isfinite(finite).all() or finite[1] <= 0:
            raise ValueError(
                f"a point needs {', '.join(KEYS)}, the last two finite and the time "
                f"above 0, got {dict(point)}"
            )


def _known(point: files.Point, key: str, otherwise: float) -> float:
    value = point.get(key)
    return otherwise if value is None else float(value)
