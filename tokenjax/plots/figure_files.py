"""Making figures and writing them: one look for all, whole files or none.

Figures are made as objects, never through `pyplot`, so that nothing is kept from one to
the next and no display is needed.
"""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tokenjax import storage

# Okabe and Ito's colours, told apart with any colour vision.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, YELLOW, GREY = "#56B4E9", "#E69F00", "#F0E442", "#5F6368"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, GREY, YELLOW)

Style = dict[str, Any]  # keyword arguments of matplotlib
Point = Mapping[str, Any]  # a row of JSON; whoever draws it says which keys it takes

HALO = [withStroke(linewidth=2.5, foreground="white")]  # text over lines
# Decorates every function that draws a figure.
styled = matplotlib.rc_context(
    {
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.labelsize": 10.5,
        "axes.edgecolor": "#9AA0A6",
        "figure.titlesize": 13,
        "figure.titleweight": "bold",
        "figure.constrained_layout.w_pad": 0.1,
        "figure.constrained_layout.h_pad": 0.08,
        "font.size": 10,
        "legend.frameon": False,
        "legend.fontsize": 9.5,
    }
)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, np.ndarray]:
    """Make a figure of `width` x `height` inches and its axes, (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def light_grid(axes: Axes, axis: str = "both") -> None:
    """Draw a grid behind the data, and no frame above and to the right."""
    axes.grid(True, axis=axis, color="#E3E5E8", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def short(name: str, length: int) -> str:
    """Return the name, cut to `length` characters with an ellipsis."""
    return name if len(name) <= length else name[: length - 1] + "…"


def in_lines(name: str, length: int) -> str:
    """Return the name in lines of at most `length` characters, broken after commas.

    A model's name may have its arguments behind it. What no comma parts is cut.
    """
    lines = [""]
    for piece in re.findall(r",?[^,]+,?|,", name):
        if lines[-1] and len(lines[-1] + piece) > length:
            lines.append(piece)
        else:
            lines[-1] += piece
    return "\n".join(short(line, length) for line in lines)


def save(figure: Figure, path: str | os.PathLike[str], dpi: int = 130) -> pathlib.Path:
    """Write a PNG under a temporary name and renames it; makes its directory.

    Raises:
      ValueError: the path does not end in .png.
    """
    path = pathlib.Path(path)
    if path.suffix != ".png":
        raise ValueError(f"figures are written as .png, got {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, facecolor="white")
    return path
