"""Panels with an image each: plain, or under a map of its patches."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage

from tokenjax.plots.images import greyscale


def grid_side(patches: int) -> int:
    """How many patches a square grid of them has on a side; 0 where none is square."""
    side = round(patches**0.5)
    return side if side * side == patches else 0


def check_square_maps(kind: str, maps: np.ndarray, images: np.ndarray) -> int:
    """The grid's side, of maps (any, n, g * g) for n images.

    Raises:
      ValueError: another shape, or patches that are on no square grid.
    """
    side = grid_side(maps.shape[-1]) if maps.ndim == 3 else 0
    if maps.size == 0 or side == 0 or maps.shape[1] != len(images):
        raise ValueError(
            f"{kind} must be (some, {len(images)}, g * g) for {len(images)} images, "
            f"got shape {maps.shape}"
        )
    return side


def evenly_chosen(count: int, most: int) -> list[int]:
    """At most `most` of the indices below `count`, the first and last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})


def without_ticks(all_axes: Iterable[Axes]) -> None:
    """Leaves the images alone: neither ticks nor frames."""
    for axes in all_axes:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)


def picture(axes: Axes, image: np.ndarray) -> None:
    """An image (h, w, 3); the pixels of a small one keep their edges."""
    axes.imshow(image, interpolation="nearest" if len(image) < 100 else "antialiased")


def overlay(
    axes: Axes,
    image: np.ndarray,
    values: np.ndarray,
    norm: Normalize,
    colours: str,
    alpha: float = 0.62,
) -> AxesImage:
    """A map (g, g) in colours over an image (h, w, 3) in grey.

    Where the map is masked, the image stays as it is.
    """
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(greyscale(image), cmap="gray", vmin=0, vmax=1, extent=extent)
    return axes.imshow(values, cmap=colours, norm=norm, alpha=alpha, extent=extent)
