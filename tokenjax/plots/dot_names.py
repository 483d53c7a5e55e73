"""Names beside the dots of a scatter plot, as clear of everything as they can be.

One after the other, each name goes where it covers the least of dots, lines and the
names before it. Near the dot is better than far from it, where a line leads to it.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from tokenjax.plots import figure_files as files

Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels

_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_DISTANCES = (3.0, 26.0)  # points from the dot's edge
_PLACES = [(x, y, distance) for distance in _DISTANCES for x, y in _SIDES]
_APART = 10.0  # points between a name and another's dot
_FAR = 0.15  # cost of a far place, in areas of the name
_OUTSIDE = 3.0  # cost of an area outside the axes, in areas covered


def name_dots(
    axes: Axes,
    names: Sequence[str],
    places: np.ndarray,
    areas: np.ndarray,
    lines: Sequence[np.ndarray],
) -> None:
    """Write the names; the figure's layout must be made already.

    Args:
      axes: where the dots are.
      names: one per dot.
      places: (dots, 2), the dots' centres in the units of the axes.
      areas: (dots,) in points squared.
      lines: each (2, 2), from one place to another, level or upright.
    """
    scale = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    radii = np.sqrt(areas / np.pi)  # points
    centres = axes.transData.transform(places)  # (dots, 2), pixels
    dots = [
        _box(centre, (radius + _APART) * scale)
        for centre, radius in zip(centres, radii, strict=True)
    ]
    taken = [_box(axes.transData.transform(line), 2 * scale) for line in lines]
    inside = axes.get_window_extent().extents
    for index, (name, place, radius) in enumerate(
        zip(names, places, radii, strict=True)
    ):
        avoided = [*taken, *dots[:index], *dots[index + 1 :]]
        label = _annotation(axes, name, place)
        costs = []
        for x, y, distance in _PLACES:
            box = _move(label, x, y, radius + distance)
            outside = _area(box) - _shared(box, inside)
            cost = _OUTSIDE * outside + sum(_shared(box, other) for other in avoided)
            costs.append(cost + _FAR * _area(box) * (distance > _DISTANCES[0]))
        x, y, distance = _PLACES[int(np.argmin(costs))]
        taken.append(_move(label, x, y, radius + distance))
        if distance > _DISTANCES[0]:
            _lead(axes, label, radius)


def _annotation(axes: Axes, name: str, place: np.ndarray) -> Annotation:
    return axes.annotate(
        name,
        (float(place[0]), float(place[1])),
        (0, 0),
        textcoords="offset points",
        fontsize=9,
        linespacing=1.1,
        path_effects=files.HALO,
        zorder=5,
    )


def _move(label: Annotation, x: int, y: int, reach: float) -> Box:
    """Move a name `reach` points from the dot's centre; return where the text is."""
    if x and y:
        reach *= 0.71  # along each axis
    label.set_position((x * reach, y * reach))
    label.set(
        horizontalalignment={1: "left", 0: "center", -1: "right"}[x],
        verticalalignment={1: "bottom", 0: "center", -1: "top"}[y],
    )
    extent = label.get_window_extent()
    return extent.x0, extent.y0, extent.x1, extent.y1


def _lead(axes: Axes, label: Annotation, radius: float) -> None:
    """Draw a line from the edge of the dot, `radius` points wide, to its name."""
    line = {"arrowstyle": "-", "color": files.GREY, "linewidth": 0.9}
    axes.annotate(
        "",
        label.xy,
        label.get_position(),
        textcoords="offset points",
        arrowprops={**line, "shrinkA": 0, "shrinkB": radius},
        zorder=4,
    )


def _box(places: np.ndarray, around: float) -> Box:
    """Return the least box `around` pixels around a place (2,) or some (any, 2)."""
    places = np.atleast_2d(places)
    low, high = places.min(axis=0) - around, places.max(axis=0) + around
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _shared(one: Box, other: Box) -> float:
    """Return the area in both boxes."""
    left, bottom = max(one[0], other[0]), max(one[1], other[1])
    right, top = min(one[2], other[2]), min(one[3], other[3])
    return _area((left, bottom, right, top))
