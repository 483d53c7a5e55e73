"""Recall class by class beside how often each class was trained on."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, PercentFormatter

from tokenjax.plots import figure_files as files

MOST_VALUES = 24  # classes up to which every bar gets its number
MOST_LABELS = 100  # classes up to which every bar gets its name


@files.styled
def recall_per_class(
    names: Sequence[str],
    recall: np.ndarray,
    train_counts: np.ndarray,
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw recall and training examples per class, the most frequent class first.

    Args:
      names: one per class.
      recall: (classes,) fractions; NaN for a class without examples to judge it by,
        which has no bar and does not enter the mean.
      train_counts: (classes,) training examples.
      path: the PNG to write.

    The dashed line is the mean of the recalls (balanced accuracy); counts are on a
    logarithmic scale.

    Raises:
      ValueError: no classes, shapes that disagree, recalls outside 0..1 or counts below
        0.
    """
    recall, counts = np.asarray(recall, np.float64), np.asarray(train_counts)
    _check(len(names), recall, counts)
    order = np.argsort(-counts, kind="stable")
    labels = [files.short(names[index], 18) for index in order]
    width = float(np.clip(0.5 * len(names) + 2.0, 6.0, 15.0))
    figure, grid = files.new_figure(width, 5.6, 2, 1)
    above, below = grid[:, 0]
    above.sharex(below)
    _recalls(above, recall[order])
    _counts(below, counts[order])
    name_bars(below, labels)
    above.tick_params(axis="x", length=0, labelbottom=False)
    figure.align_ylabels()
    return files.save(figure, path)


def _check(classes: int, recall: np.ndarray, counts: np.ndarray) -> None:
    for kind, values in (("recall", recall), ("train_counts", counts)):
        if classes == 0 or values.shape != (classes,):
            raise ValueError(
                f"{kind} must be ({classes},) for {classes} class names, "
                f"got shape {values.shape}"
            )
    known = recall[~np.isnan(recall)]
    if not len(known) or known.min() < 0 or known.max() > 1 or counts.min() < 0:
        raise ValueError("recall must be within 0..1 and train_counts at least 0")


def _recalls(axes: Axes, recall: np.ndarray) -> None:
    """Draw bars of recall (classes,), and their mean."""
    mean = float(np.nanmean(recall))
    known = np.flatnonzero(~np.isnan(recall))
    axes.bar(known, recall[known], 0.74, color=files.BLUE)
    axes.axhline(
        mean,
        color=files.VERMILION,
        linestyle="--",
        linewidth=1.5,
        label=f"mean, the balanced accuracy: {mean:.1%}" + _of(known, recall),
    )
    if len(recall) <= MOST_VALUES:
        for position, value in enumerate(recall):
            text = "no\nimage" if np.isnan(value) else f"{100 * value:.0f}"
            _above_bar(axes, position, np.nan_to_num(value), text)
    axes.set_ylim(0, 1.1)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("recall")
    axes.set_title("Recall per class, the most trained on first", pad=24)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), borderaxespad=0)
    files.light_grid(axes, "y")


def _of(known: np.ndarray, recall: np.ndarray) -> str:
    """Say of how many classes the mean is, where some have no image to judge by."""
    if len(known) == len(recall):
        return ""
    return f" ({len(known)} of {len(recall)} classes have images)"


def _counts(axes: Axes, counts: np.ndarray) -> None:
    """Draw bars of training examples (classes,) on a logarithmic scale."""
    positive = counts[counts > 0]
    low = positive.min() if len(positive) else 1
    axes.set_ylim(10 ** np.floor(np.log10(low)) / 2, max(counts.max(), 2) * 2.2)
    axes.set_yscale("log")
    axes.bar(np.flatnonzero(counts > 0), positive, 0.74, color=files.GREY)
    if len(counts) <= MOST_VALUES:
        for position, count in enumerate(counts):
            _above_bar(axes, position, max(count, axes.get_ylim()[0]), f"{count:,}")
    decades = np.log10(max(counts.max(), 1) / low)
    axes.yaxis.set_major_locator(LogLocator(10, (1,) if decades > 2 else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set_ylabel("training examples\n(logarithmic)")
    axes.set_xlabel("class")
    files.light_grid(axes, "y")


def _above_bar(axes: Axes, position: int, height: float, text: str) -> None:
    axes.annotate(
        text,
        (position, height),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color="#202124",
        path_effects=files.HALO,
    )


def name_bars(axes: Axes, labels: Sequence[str]) -> None:
    """Name the bars at 0, 1, ...; of many classes not each."""
    step = -(-len(labels) // MOST_LABELS)  # 1 unless names would overlap
    ticks = range(0, len(labels), step)
    upright = len(labels) > 12 or max(map(len, labels)) > 6
    size = float(np.clip(11 - 0.05 * len(ticks), 6, 10))
    shown = [labels[tick] for tick in ticks]
    axes.set_xticks(ticks, shown, rotation=90 if upright else 0, fontsize=size)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
