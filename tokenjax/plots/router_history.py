"""How much a router sends to the big network, over a training run."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from tokenjax.plots import figure_files as files
from tokenjax.plots.training import (
    TRAIN,
    VALIDATION,
    marked_curve,
    plain_curve,
    series,
    smooth,
    smoothed_curve,
    step_axis,
)

THRESHOLD, SCORES = files.PURPLE, files.GREEN
NONE, ALL = files.ORANGE, files.SKY
MISSED = 1e-3  # a ratio that is not its target is so far from it, at least
LEAST_TOP = 0.05  # what an axis of shares reaches at least

Curves = Mapping[str, np.ndarray]  # (points, 2) of step and value, by key


@files.styled
def routing_curves(
    history: Sequence[files.Point],
    path: str | os.PathLike[str],
    target: float | None = None,
) -> pathlib.Path:
    """Draw how many patches are routed, by which threshold, and how well.

    Args:
      history: rows of metrics.jsonl in any order. Each has "step" and any of
        "train/routing_ratio", "validation/routing_ratio", "train/target_ratio" (shares
        of patches), "train/threshold", "train/score_mean", "train/score_std",
        "train/none_selected", "train/all_selected" (shares of images) and
        "validation/target_recall". Other keys, missing ones and values that are not
        finite are passed over.
      path: the PNG to write.
      target: the routing ratio aimed at, a share, drawn as a level line.

    A panel nobody logged is left out, and so are targets that the loss does not ask for
    ("train/budget" is 0 where the ratio is another). Training curves but the threshold
    are smoothed over about a twentieth of the run, the raw curve faint behind; the band
    is one standard deviation of the scores to either side of their mean.

    Raises:
      ValueError: no row has anything to draw, or the target is not finite.
    """
    if target is not None and not np.isfinite(target):
        raise ValueError(f"target must be finite, got {target}")
    keys = {key for _, _, needed in PANELS for key in needed}
    extra = {"train/target_ratio", "train/score_std"}
    curves = {key: series(history, [key]) for key in keys | extra}
    drawn = [
        (title, draw)
        for title, draw, needed in PANELS
        if any(len(curves[key]) for key in needed)
    ]
    if not drawn:
        raise ValueError(f"nothing to draw in {len(history)} rows of history")
    if not _is_asked_for(history):
        target, curves["train/target_ratio"] = None, np.zeros((0, 2))
    columns = 2 if len(drawn) == 4 else len(drawn)
    rows = len(drawn) // columns
    figure, grid = files.new_figure(4.6 * columns, 3.7 * rows, rows, columns)
    for axes, (title, draw) in zip(grid.flat, drawn, strict=True):
        draw(axes, curves)
        if draw is _ratio and target is not None:
            label = f"target {100 * target:.3g}%"
            axes.axhline(target, color=files.GREY, linestyle=":", label=label)
        if draw is not _threshold:
            _share_axis(axes)
        axes.set_title(title)
        step_axis(axes)
        files.light_grid(axes)
        axes.legend(loc="best")
    return files.save(figure, path)


def _is_asked_for(history: Sequence[files.Point]) -> bool:
    """Return False if the loss has let a ratio pass that was not its target."""
    names = ("train/budget", "train/routing_ratio", "train/target_ratio")
    for row in history:
        budget, ratio, target = (row.get(name) for name in names)
        if budget != 0 or ratio is None or target is None:
            continue
        if abs(ratio - target) > MISSED:
            return False
    return True


def _ratio(axes: Axes, curves: Curves) -> None:
    aim = curves["train/target_ratio"]
    if len(aim):
        style: files.Style = {"linewidth": 1.5, "linestyle": "--", "color": files.GREY}
        plain_curve(axes, aim, label="target in training", **style)
    train, validation = (
        curves["train/routing_ratio"],
        curves["validation/routing_ratio"],
    )
    if len(train):
        smoothed_curve(axes, train, TRAIN, "train")
    if len(validation):
        label = f"validation (last {validation[-1, 1]:.1%})"
        marked_curve(axes, validation, VALIDATION, label)
    axes.set_ylabel("share of patches to the big network")


def _threshold(axes: Axes, curves: Curves) -> None:
    mean, spread = curves["train/score_mean"], curves["train/score_std"]
    if len(mean):
        smoothed_curve(axes, mean, SCORES, "mean score")
        steps, in_mean, in_spread = np.intersect1d(
            mean[:, 0], spread[:, 0], return_indices=True
        )
        if len(steps):
            width = len(steps) // 20
            middle = smooth(mean[in_mean, 1], width)
            reach = smooth(spread[in_spread, 1], width)
            label = "± standard deviation"
            style: files.Style = {"color": SCORES, "alpha": 0.15, "label": label}
            if len(steps) == 1:  # a band would have no width
                axes.errorbar(steps, middle, reach, linewidth=4, **style)
            else:
                low, high = middle - reach, middle + reach
                axes.fill_between(steps, low, high, linewidth=0, **style)
    threshold = curves["train/threshold"]
    if len(threshold):  # a setting, not a noisy measurement: as it is
        plain_curve(axes, threshold, color=THRESHOLD, label="threshold")
    axes.set_ylabel("score")


def _extremes(axes: Axes, curves: Curves) -> None:
    for key, colour, label in (
        ("train/none_selected", NONE, "no patch selected"),
        ("train/all_selected", ALL, "every patch selected"),
    ):
        if len(curves[key]):
            smoothed_curve(axes, curves[key], colour, label)
    axes.set_ylabel("share of images")


def _recall(axes: Axes, curves: Curves) -> None:
    recall = curves["validation/target_recall"]
    steps, values = recall.T
    best = values.argmax()
    label = f"validation (best {values[best]:.1%} at {steps[best]:.0f})"
    marked_curve(axes, recall, VALIDATION, label)
    axes.set_ylabel("share of target patches routed")


def _share_axis(axes: Axes) -> None:
    """Scale in percent from 0, with room for a line that lies on it."""
    top = max(axes.dataLim.y1 * 1.08, LEAST_TOP)
    axes.set_ylim(-0.02 * top, top)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


# (title, what draws it, the keys of which one at least must have been logged)
PANELS: tuple[tuple[str, Callable[[Axes, Curves], None], tuple[str, ...]], ...] = (
    (
        "Routing ratio",
        _ratio,
        ("train/routing_ratio", "validation/routing_ratio"),
    ),
    ("Threshold and scores", _threshold, ("train/threshold", "train/score_mean")),
    (
        "Images at the extremes",
        _extremes,
        ("train/none_selected", "train/all_selected"),
    ),
    ("Recall of the target", _recall, ("validation/target_recall",)),
)
