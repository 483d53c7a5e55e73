"""Shapes painted with a material that has a colour, an NIR reflectance and a heat.

A canvas is a grid of points of the scene, `CHANNELS` values at each: red, green, blue,
NIR reflectance, heat, all from 0 to 1. Lengths are in statures, the height of the
person in the middle: x to the right from where they stand, y upwards from the ground.

Every shape is a spine with a half-width that changes along it,

    inside(p) = half_width(along) - |across|     in statures, below 0 outside
    cover(p)  = clip(inside / pixel + 1/2, 0, 1)
    values    = (1 - cover) values + cover material(along, across) shade(across)

so that edges are smooth at any size of the picture, and cloth darkens to its sides.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CHANNELS = 5  # red, green, blue, NIR reflectance, heat
SIDE_SHADE = np.array([0.42, 0.42, 0.42, 0.3, 0.12], np.float32)

Point = tuple[float, float]
# (along, across) in statures -> share of the second material, 0 to 1.
Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Material:
    """Looks of a surface: `first`, and `second` where the pattern is 1."""

    first: np.ndarray  # (CHANNELS,)
    second: np.ndarray  # (CHANNELS,)
    pattern: Pattern | None = None


@dataclass(frozen=True)
class Shape:
    """A spine from `start` to `end`; half-widths at even steps along it."""

    start: Point
    end: Point
    half_widths: tuple[float, ...]
    rounded: bool = True  # ends in half circles beyond the spine, else cut straight


def plain(values: np.ndarray) -> Material:
    """Return a material without a pattern."""
    return Material(values, values)


def ellipse(centre: Point, half_width: float, half_height: float) -> Shape:
    """Return an upright ellipse."""
    x, y = centre
    steps = np.linspace(-1, 1, 13)
    widths = tuple(half_width * np.sqrt(1 - steps**2))
    return Shape((x, y + half_height), (x, y - half_height), widths, rounded=False)


def box(centre: Point, half_width: float, half_height: float) -> Shape:
    """Return an upright rectangle."""
    x, y = centre
    start, end = (x, y + half_height), (x, y - half_height)
    return Shape(start, end, (half_width, half_width), rounded=False)


@dataclass
class Canvas:
    """Values of a picture's points, painted in place."""

    x: np.ndarray  # (height, width)
    y: np.ndarray  # (height,) from the top down
    pixel: float  # statures per pixel
    light: float = 0.0  # from the left (-1) to the right (1)

    def __post_init__(self) -> None:
        self.values = np.zeros((*self.x.shape, CHANNELS), np.float32)

    def paint(self, shape: Shape, material: Material, flat: bool = False) -> None:
        """Lay `shape` over what is there; `flat` leaves out the shading."""
        window = self._window(shape)
        if window is None:
            return
        along, across, half_width, inside = _measure(
            shape, self.x[window], self.y[window[0], None]
        )
        cover = np.clip(inside / self.pixel + 0.5, 0, 1)[..., None]  # (h, w, 1)
        values: np.ndarray = material.first
        if material.pattern is not None:
            share = material.pattern(along, across)[..., None]
            values = values + share * (material.second - values)  # (h, w, CHANNELS)
        if not flat:
            side = np.clip(across / np.maximum(half_width, self.pixel), -1, 1)
            dark = (side * side - self.light * side)[..., None]
            values = values * (1 - SIDE_SHADE * dark)
        part = self.values[window]
        part += cover * (values - part)

    def darken(self, shape: Shape, factor: float) -> None:
        """Cast a soft shadow: visible and NIR light times `factor` in its middle."""
        window = self._window(shape)
        if window is None:
            return
        _, _, half_width, inside = _measure(
            shape, self.x[window], self.y[window[0], None]
        )
        depth = np.clip(inside / max(half_width.max(), self.pixel), 0, 1)[..., None]
        self.values[window][..., :4] *= 1 - (1 - factor) * depth

    def _window(self, shape: Shape) -> tuple[slice, slice] | None:
        """Return the rows and columns a shape can reach; None if it is out of view."""
        reach = max(shape.half_widths) + 2 * self.pixel
        (left, right), (low, high) = (
            (min(pair) - reach, max(pair) + reach)
            for pair in zip(shape.start, shape.end, strict=True)
        )
        rows = np.flatnonzero((self.y >= low) & (self.y <= high))
        if not len(rows):
            return None
        row_slice = slice(int(rows[0]), int(rows[-1]) + 1)
        x = self.x[row_slice]
        columns = np.flatnonzero(((x >= left) & (x <= right)).any(axis=0))
        if not len(columns):
            return None
        return row_slice, slice(int(columns[0]), int(columns[-1]) + 1)


def _measure(
    shape: Shape, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return along, across, half_width and inside at points x (h, w), y (h, 1)."""
    (x0, y0), (x1, y1) = shape.start, shape.end
    length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
    step_x, step_y = (x1 - x0) / length, (y1 - y0) / length
    along = (x - x0) * step_x + (y - y0) * step_y  # (h, w)
    # Down a spine that points down, "across" grows to the right.
    across = (y - y0) * step_x - (x - x0) * step_y
    knots = np.linspace(0, length, len(shape.half_widths))
    half_width = np.interp(along, knots, shape.half_widths).astype(np.float32)
    beyond = np.maximum(-along, along - length)
    if shape.rounded:
        inside = half_width - np.hypot(np.maximum(beyond, 0), across)
    else:
        inside = np.minimum(half_width - np.abs(across), -beyond)
    return along, across, half_width, inside
