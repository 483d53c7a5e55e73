"""Panels with an image each: plain, or under a map of its patches."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from tokenjax.plots import figure_files as files
from tokenjax.plots.images import greyscale, grid_side

LINES = "#8A9099"  # between patches, seen on dark images and on bright ones
BOX_STYLE: files.Style = {
    "fill": False,
    "edgecolor": files.VERMILION,
    "linewidth": 1.6,
    "path_effects": [withStroke(linewidth=2.8, foreground="white")],  # on heat
}


def check_square_maps(
    kind: str, maps: np.ndarray, images: np.ndarray, stacked: bool = True
) -> int:
    """Return the grid's side, of maps (any, n, g * g), not stacked (n, g * g).

    Raises:
      ValueError: another shape, or patches that are on no square grid.
    """
    side = grid_side(maps.shape[-1]) if maps.ndim == 2 + stacked else 0
    if maps.size == 0 or side == 0 or maps.shape[-2] != len(images):
        wanted = f"({'some, ' if stacked else ''}{len(images)}, g * g)"
        raise ValueError(
            f"{kind} must be {wanted} for {len(images)} images, got shape {maps.shape}"
        )
    return side


def cell(images: np.ndarray, inches: float = 1.45) -> tuple[float, float]:
    """Return height and width of a panel for images (n, h, w, 3), of `inches`."""
    height, width = images.shape[1:3]
    return inches * min(1.0, height / width), inches * min(1.0, width / height)


def without_ticks(all_axes: Iterable[Axes]) -> None:
    """Leave the images alone: neither ticks nor frames."""
    for axes in all_axes:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)


def picture(axes: Axes, image: np.ndarray) -> None:
    """Draw an image (h, w, 3); the pixels of a small one keep their edges."""
    axes.imshow(image, interpolation="nearest" if len(image) < 100 else "antialiased")


def overlay(
    axes: Axes,
    image: np.ndarray,
    values: np.ndarray,
    norm: Normalize,
    colours: str,
    alpha: float = 0.62,
) -> AxesImage:
    """Draw a map (g, g) in colours over an image (h, w, 3) in grey.

    Where the map is masked, the image stays as it is.
    """
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(greyscale(image), cmap="gray", vmin=0, vmax=1, extent=extent)
    return axes.imshow(values, cmap=colours, norm=norm, alpha=alpha, extent=extent)


def patch_lines(axes: Axes, image: np.ndarray, side: int) -> None:
    """Draw thin lines between the patches, seen on dark and on bright ones."""
    height, width = image.shape[:2]
    inner = np.arange(1, side) / side
    style: files.Style = {"color": LINES, "linewidth": 0.5, "alpha": 0.7}
    axes.hlines(inner * height - 0.5, -0.5, width - 0.5, **style)
    axes.vlines(inner * width - 0.5, -0.5, height - 0.5, **style)


def outline_patches(
    axes: Axes, image: np.ndarray, chosen: np.ndarray, colour: str
) -> None:
    """Draw a line around every group of patches that `chosen` (g, g) is true for."""
    height, width = image.shape[:2]
    side = len(chosen)
    padded = np.pad(chosen, 1).astype(int)
    line_width = float(np.clip(16 / side, 1.2, 2.0))
    style: files.Style = {
        "colors": colour,
        "linewidths": line_width,
        "capstyle": "projecting",
    }
    rows, columns = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])  # level edges
    left = columns * width / side - 0.5
    axes.hlines(rows * height / side - 0.5, left, left + width / side, **style)
    rows, columns = np.nonzero(np.diff(padded, axis=1)[1:-1])  # upright edges
    top = rows * height / side - 0.5
    axes.vlines(columns * width / side - 0.5, top, top + height / side, **style)


def draw_boxes(all_axes: Iterable[Axes], boxes: np.ndarray | None) -> None:
    """Draw a box on each of the axes; on none where there are no boxes."""
    for axes, (top, left, bottom, right) in zip(
        all_axes, [] if boxes is None else boxes, strict=False
    ):
        corner = (left - 0.5, top - 0.5)
        box = Rectangle(corner, right - left, bottom - top, **BOX_STYLE)
        axes.add_artist(box)  # unlike `add_patch`, it leaves the limits as they are
