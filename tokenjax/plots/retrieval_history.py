"""How well a re-identification run finds images again, over its epochs."""

import os
import pathlib
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tokenjax.plots import figure_files as files
from tokenjax.plots.training import marked_curve, series

MEASURES = (("mAP", "mAP"), ("rank1", "Rank-1"))  # in the keys of a row, in a title


@files.styled
def retrieval_curves(
    history: Sequence[files.Point],
    features: Sequence[str],
    steps_per_epoch: float,
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw mAP and rank-1 on validation over epochs, a line for each feature.

    Args:
      history: rows of metrics.jsonl in any order. Each has "step" and any of
        "validation/mAP_<feature>" and "validation/rank1_<feature>", fractions. Other
        keys, missing ones and values that are not finite are passed over.
      features: their names.
      steps_per_epoch: above 0, not whole perhaps.
      path: the PNG to write.

    A panel that nobody logged is left out; the best value of each line is in the
    legend, with its epoch.

    Raises:
      ValueError: no row has anything to draw.
    """
    drawn = []
    for key, title in MEASURES:
        lines = [
            (name, series(history, [f"validation/{key}_{name}"])) for name in features
        ]
        lines = [(name, points) for name, points in lines if len(points)]
        if lines:
            drawn.append((title, lines))
    if not drawn:
        raise ValueError(f"no evaluation to draw in {len(history)} rows of history")
    figure, grid = files.new_figure(4.9 * len(drawn), 3.9, columns=len(drawn))
    for axes, (title, lines) in zip(grid[0], drawn, strict=True):
        for index, (name, points) in enumerate(lines):
            points[:, 0] /= steps_per_epoch
            epoch, best = points[points[:, 1].argmax()]
            label = f"{files.short(name, 16)} (best {best:.1%} at {epoch:.3g})"
            marked_curve(axes, points, files.COLOURS[index % len(files.COLOURS)], label)
        axes.set(title=title, xlabel="epoch", ylabel=f"{title} on validation")
        _scale(axes)
        files.light_grid(axes)
        axes.legend(loc="best")
    return files.save(figure, path)


def _scale(axes: Axes) -> None:
    """Begin both axes at 0, whatever the run's length; shares in percent."""
    axes.set_xlim(0, 1.04 * axes.dataLim.x1)
    top = max(1.08 * axes.dataLim.y1, 0.01)
    axes.set_ylim(-0.02 * top, top)  # with room for what lies on 0
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
