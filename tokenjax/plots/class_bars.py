"""How many examples of each class there are, in several training splits."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tokenjax.plots import figure_files as files
from tokenjax.plots.per_class import name_bars

MOST_VALUES = 12  # classes up to which every bar gets its number


@files.styled
def class_counts(
    counts: Mapping[str, Sequence[int]],
    class_names: Sequence[str],
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw a bar for each class in each split.

    Args:
      counts: by split (up to 4) the examples of each class.
      class_names: one per class.
      path: the PNG to write.

    Raises:
      ValueError: no splits or too many, or counts that are not one for each class.
    """
    if not 1 <= len(counts) <= 4:
        raise ValueError(f"there must be 1..4 splits, got {len(counts)}")
    for name, values in counts.items():
        if len(values) != len(class_names) or min(values) < 0:
            raise ValueError(f"{name}: {len(values)} counts, {len(class_names)} names")
    figure, grid = files.new_figure(
        float(np.clip(2.0 + 0.75 * len(class_names), 6.0, 14.0)), 3.6
    )
    axes, width = grid[0, 0], 0.82 / len(counts)
    places = np.arange(len(class_names))
    for index, (name, values) in enumerate(counts.items()):
        aside = width * (index - (len(counts) - 1) / 2)
        label = f"{name}: {sum(values):,}"
        bars = axes.bar(
            places + aside, values, width, color=files.COLOURS[index], label=label
        )
        if len(class_names) <= MOST_VALUES:
            axes.bar_label(bars, fmt="{:,.0f}", fontsize=7, padding=1)
    names = [files.short(name, 12) for name in class_names]
    if len(names) > MOST_VALUES:
        name_bars(axes, names)
    else:
        upright = max(map(len, names)) > 8
        axes.set_xticks(places, names, rotation=30 if upright else 0, fontsize=9)
    axes.set(ylabel="training examples", title="Examples of each class")
    axes.legend(loc="upper right", ncols=len(counts))
    axes.set_ylim(top=1.2 * max(max(values) for values in counts.values()))
    files.light_grid(axes, "y")
    return files.save(figure, path, dpi=90)
