"""Variants of a training side by side: loss over steps, and gradient norms by part."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from tokenjax.plots import figure_files as files
from tokenjax.plots.training import smooth, step_axis

# Yellow lines are hard to see on white.
COLOURS = (*files.COLOURS[:6], "#202124", "#8C6D46")
Line = str | tuple[float, tuple[float, ...]]  # its style: a name, or its dashes
LINES: tuple[Line, ...] = ("-", (0, (4, 1.6)))
MARKERS = "osD^vP*X"
MOST_VARIANTS = len(COLOURS) * len(LINES)
MANY_POINTS = 100  # of a run, above which it is smoothed

Run = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]


@files.styled
def loss_curves(
    runs: Mapping[str, Sequence[Run]],
    path: str | os.PathLike[str],
    ylabel: str,
    title: str = "Loss",
    log_y: bool = False,
    xlabel: str = "step",
) -> pathlib.Path:
    """Draw variants over steps: the mean of a variant's runs in the band they span.

    Args:
      runs: by variant (up to 16) a list with (steps, values) for each seed. Steps rise;
        values that are not finite are passed over.
      path: the PNG to write.
      ylabel: what the values are.
      title: the heading.
      log_y: a logarithmic axis; values of 0 or less are then passed over.
      xlabel: what the runs' first numbers are.

    Runs of more than 100 points are smoothed over a fiftieth of them, which the figure
    says. Where seeds logged different steps, values between are interpolated; a run
    that ends before the others of its variant leaves the mean there and gets a cross.

    Raises:
      ValueError: no variants or too many, steps that do not rise, or a variant without
        anything to draw.
    """
    if not 1 <= len(runs) <= MOST_VARIANTS:
        raise ValueError(f"there must be 1..{MOST_VARIANTS} variants, got {len(runs)}")
    figure, grid = files.new_figure(9.4, max(4.4, 1.2 + 0.23 * len(runs)))
    axes = grid[0, 0]
    drawn = [_checked_runs(name, of, log_y) for name, of in runs.items()]
    width = max(_smoothing(points) for curves in drawn for points in curves)
    counts = {len(curves) for curves in drawn}
    ended = False
    for index, (name, curves) in enumerate(zip(runs, drawn, strict=True)):
        seeds = f" ({len(curves)} seeds)" if len(counts) > 1 else ""
        style: files.Style = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": LINES[index // len(COLOURS)],
            "label": files.short(name, 30) + seeds.replace("(1 seeds)", "(1 seed)"),
        }
        ended |= _draw_variant(axes, [_smoothed(of) for of in curves], style)
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    step_axis(axes)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _write_remarks(axes, title, width, counts, ended)
    files.light_grid(axes)
    figure.legend(loc="outside right upper", handlelength=2.6, fontsize=9)
    return files.save(figure, path)


def _checked_runs(name: str, runs: Sequence[Run], log_y: bool) -> list[np.ndarray]:
    """Return a variant's runs as (points, 2), of which one at least has points."""
    curves = [_points(name, run, log_y) for run in runs]
    if not any(len(points) for points in curves):
        raise ValueError(f"{name} has nothing to draw")
    return curves


def _points(name: str, run: Run, log_y: bool) -> np.ndarray:
    """Return a run as (points, 2), without the values that cannot be drawn."""
    steps, values = (np.asarray(of, np.float64) for of in run)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise ValueError(
            f"{name}: steps and values must both be (n,), "
            f"got shapes {steps.shape} and {values.shape}"
        )
    if not np.all(np.diff(steps) > 0):
        raise ValueError(f"{name}: steps must rise")
    drawable = np.isfinite(values) & ((values > 0) | (not log_y))
    return np.stack([steps, values], 1)[drawable]


def _smoothing(points: np.ndarray) -> int:
    """Return how many points of a run (n, 2) are averaged to one."""
    return max(len(points) // 50, 1) if len(points) > MANY_POINTS else 1


def _smoothed(points: np.ndarray) -> np.ndarray:
    width = _smoothing(points)
    if width == 1:
        return points
    return np.stack([points[:, 0], smooth(points[:, 1], width)], 1)


def _draw_variant(axes: Axes, curves: Sequence[np.ndarray], style: files.Style) -> bool:
    """Draw mean and band of curves (points, 2); say whether one ended early."""
    curves = [points for points in curves if len(points)]
    steps = np.unique(np.concatenate([points[:, 0] for points in curves]))
    values = np.stack(
        [
            np.interp(steps, points[:, 0], points[:, 1], left=np.nan, right=np.nan)
            for points in curves
        ]
    )  # (seeds, steps)
    if len(curves) > 1:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(
            steps, low, high, color=style["color"], alpha=0.14, linewidth=0
        )
    marker = "o" if len(steps) < 3 else None
    axes.plot(steps, np.nanmean(values, 0), linewidth=1.8, marker=marker, **style)
    early = [points[-1] for points in curves if points[-1, 0] < steps[-1]]
    for point in early:
        axes.plot(*point, "X", color=style["color"], markersize=8, zorder=4)
    return bool(early)


def _write_remarks(
    axes: Axes, title: str, width: int, counts: set[int], ended: bool
) -> None:
    """Write the title, and under it what lines, bands and crosses are."""
    said = [f"smoothed over up to {width} points"] if width > 1 else []
    if max(counts) > 1:
        seeds = f"{max(counts)} seeds" if len(counts) == 1 else "seeds"
        said.append(f"lines: means of {seeds}, bands: least to greatest")
    said += ["✖: a run that ended early"] if ended else []
    axes.set_title(title, pad=8 + 13 * len(said))
    axes.annotate(
        "\n".join(said),
        (0.5, 1),
        xytext=(0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=files.GREY,
    )


@files.styled
def gradient_norms(
    norms: Mapping[str, Mapping[str, float]], path: str | os.PathLike[str]
) -> pathlib.Path:
    """Draw the size of gradients by part of the model, a row for each variant.

    Args:
      norms: by variant, by part (up to 8), the norm of the gradient.
      path: the PNG to write.

    The axis is logarithmic. Norms that are exactly 0 stand hollow at its left end,
    those that are not finite at its right end.

    Raises:
      ValueError: nothing to draw, too many parts, or a negative norm.
    """
    parts = list(dict.fromkeys(part for of in norms.values() for part in of))
    if not 1 <= len(parts) <= len(MARKERS):
        raise ValueError(f"there must be 1..{len(MARKERS)} parts, got {len(parts)}")
    values = np.array([float(of[part]) for of in norms.values() for part in of])
    if (values < 0).any():
        raise ValueError(f"norms must not be negative, got {values.min()}")
    figure, grid = files.new_figure(7.8, 1.5 + 0.4 * max(len(norms), 3))
    axes = grid[0, 0]
    axes.set_xscale("log")
    ends = _norm_limits(axes, values)
    for index, part in enumerate(parts):
        rows = [row for row, of in enumerate(norms.values()) if part in of]
        of_part = np.array([float(of[part]) for of in norms.values() if part in of])
        aside = 0.16 * (index - (len(parts) - 1) / 2)  # or equal norms would hide
        _draw_part(axes, np.array(rows) + aside, of_part, ends, index)
        axes.plot([], [], MARKERS[index], color=COLOURS[index], label=part)
    hollow: files.Style = {
        "markerfacecolor": "none",
        "markersize": 8,
        "color": files.GREY,
    }
    if (values == 0).any():
        axes.plot([], [], "o", label="at the left end: 0", **hollow)
    if not np.isfinite(values).all():
        axes.plot([], [], "o", label="at the right end:\nnot finite", **hollow)
    axes.set_yticks(range(len(norms)), [files.short(name, 32) for name in norms])
    axes.set_ylim(len(norms) - 0.4, -0.6)
    axes.set(xlabel="norm of the gradient", title="Gradients by part of the model")
    files.light_grid(axes)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside right upper")
    return files.save(figure, path)


def _norm_limits(axes: Axes, values: np.ndarray) -> tuple[float, float]:
    """Set the limits for norms (n,); return where those unlike the others go.

    Norms that are 0 and norms that are not finite get shaded strips, at either end.
    """
    finite = values[np.isfinite(values) & (values > 0)]
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 1.0)
    margin = max(2.0, (high / low) ** 0.05)
    left, right = low / margin, high * margin
    _norm_ticks(axes, left, right)
    style: files.Style = {"color": "#F1F3F4", "zorder": 0}
    if (values == 0).any():
        axes.axvspan(left / margin**2, left, **style)
        left /= margin**2
    if not np.isfinite(values).all():
        axes.axvspan(right, right * margin**2, **style)
        right *= margin**2
    axes.set_xlim(left, right)
    return left * margin, right / margin


def _norm_ticks(axes: Axes, left: float, right: float) -> None:
    """Mark some powers of ten between two norms, or numbers within the one there is."""
    wide = right / left > 100
    places = LogLocator(10, (1,) if wide else (1, 2, 5), numticks=8)
    ticks = [tick for tick in places.tick_values(left, right) if left <= tick <= right]
    labels = [
        f"$10^{{{np.log10(tick):.0f}}}$" if wide else f"{tick:g}" for tick in ticks
    ]
    axes.set_xticks(ticks, labels)
    axes.set_xticks([], minor=True)


def _draw_part(
    axes: Axes,
    rows: np.ndarray,
    values: np.ndarray,
    ends: tuple[float, float],
    index: int,
) -> None:
    """Draw a part's norms (rows,), hollow at the ends where 0 or not finite."""
    style: files.Style = {"marker": MARKERS[index], "linestyle": "", "markersize": 8}
    colour = COLOURS[index]
    usual = np.isfinite(values) & (values > 0)
    axes.plot(values[usual], rows[usual], color=colour, alpha=0.85, **style)
    for unusual, end in ((values == 0, ends[0]), (~np.isfinite(values), ends[1])):
        places = np.full(unusual.sum(), end)
        axes.plot(places, rows[unusual], color=colour, markerfacecolor="none", **style)
