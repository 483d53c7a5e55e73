"""Windows and grids over feature maps, for attention inside small groups of places.

    windows: group (i, j) is the block of places  (i p + u, j q + v),  u < p, v < q
    grid:    group (i, j) is every place          (u R + i, v S + j),  u < p, v < q

for a group of (p, q) places, the token of place (u, v) in it being u q + v, and
R = height / p, S = width / q the number of groups down and across. The windows are
those of Swin (Liu et al. 2021, arXiv 2103.14030), the grid that of MaxViT (Tu et al.
2022, arXiv 2204.01697), where a group is spread evenly over the whole map. Reshapes and
transposes only.

Axes: batch b, map h, w, channels c, groups g (row by row), tokens of a group n = p q.
Raises ValueError if the map is not whole groups.
"""

from typing import TypeVar

import jax
import numpy as np

Size = tuple[int, int]
Array = TypeVar("Array", jax.Array, np.ndarray)


def window_partition(maps: Array, size: Size) -> Array:
    """Group neighbouring places: (b, h, w, c) -> (b * g, n, c)."""
    rows, columns = _groups(maps.shape[1:3], size)
    batch, channels = maps.shape[0], maps.shape[-1]
    blocks = maps.reshape(batch, rows, size[0], columns, size[1], channels)
    return blocks.swapaxes(2, 3).reshape(-1, size[0] * size[1], channels)


def window_reverse(windows: Array, size: Size, map_size: Size) -> Array:
    """Undo `window_partition`: (b * g, n, c) -> (b, h, w, c)."""
    rows, columns = _groups(map_size, size)
    blocks = windows.reshape(-1, rows, columns, *size, windows.shape[-1])
    return blocks.swapaxes(2, 3).reshape(-1, *map_size, windows.shape[-1])


def grid_partition(maps: Array, size: Size) -> Array:
    """Group places h / p and w / q apart: (b, h, w, c) -> (b * g, n, c)."""
    rows, columns = _groups(maps.shape[1:3], size)
    batch, channels = maps.shape[0], maps.shape[-1]
    places = maps.reshape(batch, size[0], rows, size[1], columns, channels)
    places = places.transpose(0, 2, 4, 1, 3, 5)  # (b, rows, columns, p, q, c)
    return places.reshape(-1, size[0] * size[1], channels)


def grid_reverse(grids: Array, size: Size, map_size: Size) -> Array:
    """Undo `grid_partition`: (b * g, n, c) -> (b, h, w, c)."""
    rows, columns = _groups(map_size, size)
    places = grids.reshape(-1, rows, columns, *size, grids.shape[-1])
    places = places.transpose(0, 3, 1, 4, 2, 5)  # (b, p, rows, q, columns, c)
    return places.reshape(-1, *map_size, grids.shape[-1])


def relative_position_index(size: Size) -> np.ndarray:
    """Return the row of a table of offsets for each pair of tokens: (n, n) int64.

    Entry (query, key) is (du + p - 1) (2 q - 1) + dv + q - 1 for the offset (du, dv) of
    the query's place from the key's: one of (2 p - 1) (2 q - 1) rows.
    """
    height, width = size
    place = np.mgrid[:height, :width].reshape(2, -1)  # (2, n)
    down, across = place[:, :, None] - place[:, None, :]  # (n, n) each
    return (down + height - 1) * (2 * width - 1) + across + width - 1


def _groups(map_size: tuple[int, ...], size: Size) -> Size:
    """Return the number of groups down and across."""
    if map_size[0] % size[0] or map_size[1] % size[1]:
        raise ValueError(
            f"a map of {map_size[0]}x{map_size[1]} is not whole groups "
            f"of {size[0]}x{size[1]}"
        )
    return map_size[0] // size[0], map_size[1] // size[1]
