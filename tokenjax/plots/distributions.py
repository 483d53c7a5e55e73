"""Distributions side by side: a box for each, its values scattered over it."""

import numpy as np
from matplotlib.axes import Axes

from tokenjax.plots import figure_files as files

MOST_POINTS = 150  # of each distribution


def boxes_per_block(axes: Axes, values: np.ndarray, colour: str) -> None:
    """Draw values (depth, n) as one box per block, numbered from 1.

    Boxes hold the middle half, whiskers reach from the 5th to the 95th percentile. Of
    more than MOST_POINTS values, an even selection is scattered.
    """
    depth = len(values)
    positions = np.arange(1, depth + 1)
    axes.boxplot(
        list(values),
        positions=positions,
        widths=0.6,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": colour + "38", "edgecolor": colour},
        medianprops={"color": colour, "linewidth": 2.2},
        whiskerprops={"color": colour},
        capprops={"color": colour},
    )
    scatter = np.random.default_rng(0)  # where points lie sideways means nothing
    for position, row in zip(positions, values, strict=True):
        chosen = row[:: -(-len(row) // MOST_POINTS)]
        sideways = position + scatter.uniform(-0.22, 0.22, len(chosen))
        axes.plot(sideways, chosen, ".", color=colour, alpha=0.35, markersize=3.5)
    step = -(-depth // 24)
    axes.set_xticks(positions[::step], [str(block) for block in positions[::step]])
    axes.set_xlim(0.4, depth + 0.6)
    axes.set_xlabel("block")
    files.light_grid(axes, "y")


def check_blocks(name: str, values: np.ndarray) -> np.ndarray:
    """Return the values as floats.

    Raises:
      ValueError: they are not (depth, n) finite numbers with depth and n above 0.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be (depth, n) finite numbers, got shape {values.shape}"
        )
    return values
