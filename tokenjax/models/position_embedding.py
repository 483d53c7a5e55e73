"""Position embeddings of one grid of places for another.

    new[i, j] = sum over u, v of w(y_i, u) w(x_j, v) old[u, v]
    y_i = (i + 1/2) old_height / new_height - 1/2

and the weights w by `method`, what PyTorch's `interpolate(align_corners=False)` has:

    bilinear            max(0, 1 - |y - u|), y cut to the old grid        (DeMo)
    bicubic             Keys' cubic, a = -3/4, the border repeated        (transformers)
    bicubic_antialias   Keys' cubic, a = -1/2, stretched by old / new where the grid
                        shrinks, over the places there are                (timm)

Rows that are of no place (a class token's) stay as they are.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np

Method = Literal["bilinear", "bicubic", "bicubic_antialias"]
METHODS: tuple[Method, ...] = get_args(Method)
Grid = tuple[int, int]  # rows and columns


class Places(NamedTuple):
    """How an array (..., n, c) is laid out: `before`, a grid row by row, `after`.

    Its places are patches, or offsets between two places of a window.
    """

    rows: int
    columns: int
    before: int = 1  # a class token's
    after: int = 0
    method: Method = "bilinear"  # that its programs resize it by

    @property
    def grid(self) -> Grid:
        """Return (rows, columns)."""
        return self.rows, self.columns

    @property
    def length(self) -> int:
        """Return the array's n."""
        return self.before + self.rows * self.columns + self.after

    def fit(self, array: np.ndarray, source: "Places") -> np.ndarray:
        """Return an array that is laid out as `source` as this has it, see `fit`."""
        return fit(array, source, self)


def resize(
    embedding: np.ndarray,
    grid_from: Grid,
    grid_to: Grid,
    method: Method = "bilinear",
    before: int = 1,
    after: int = 0,
) -> np.ndarray:
    """Resize a position embedding to another grid.

    Args:
      embedding: (..., before + rows * columns + after, dim), `grid_from` row by row; a
        numpy array or what turns into one.
      grid_from: (rows, columns) it was made for.
      grid_to: (rows, columns) wanted.
      method: see the module.
      before: rows in front that are of no place; a class token's.
      after: rows behind that are of none.

    Returns: (..., before + new rows * new columns + after, dim) of the same dtype.

    Raises: ValueError if the embedding is not of `grid_from`, or the method unknown.
    """
    embedding = np.asarray(embedding)
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise ValueError(f"method must be one of {known}, got {method!r}")
    places = Places(*grid_from, before, after)
    if embedding.ndim < 2 or embedding.shape[-2] != places.length:
        raise ValueError(
            f"a position embedding of a {places.rows} x {places.columns} grid is (..., "
            f"{places.length}, dim), the class row first; got {embedding.shape}"
        )
    if tuple(grid_from) == tuple(grid_to):
        return embedding
    front, patches, back = np.split(embedding, [before, places.length - after], -2)
    vertical, horizontal = (
        _interpolation(length, new_length, method)
        for length, new_length in zip(grid_from, grid_to, strict=True)
    )
    resized = np.kron(vertical, horizontal) @ patches.astype(np.float64)
    return np.concatenate([front, resized.astype(embedding.dtype), back], axis=-2)


def fit(embedding: np.ndarray, found: Places, wanted: Places) -> np.ndarray:
    """Resize an embedding of the one layout to the other, by the method of `wanted`."""
    rest = (found.before, found.after)
    return resize(embedding, found.grid, wanted.grid, wanted.method, *rest)


def _interpolation(length: int, new_length: int, method: Method) -> np.ndarray:
    """Return the matrix (new_length, length) of interpolation along an axis."""
    step = length / new_length
    centres = (np.arange(new_length) + 0.5) * step - 0.5
    old = np.arange(length)
    if method == "bilinear":
        centres = np.clip(centres, 0, length - 1)
        return np.maximum(0, 1 - np.abs(centres[:, None] - old))
    if method == "bicubic":
        # Taps beyond the border have the value of the place at it.
        taps = np.arange(-2, length + 2)
        weights = _cubic(centres[:, None] - taps, -0.75)
        matrix = np.zeros((new_length, length))
        np.add.at(matrix.T, np.clip(taps, 0, length - 1), weights.T)
        return matrix
    stretch = max(step, 1.0)
    weights = _cubic((centres[:, None] - old) / stretch, -0.5)
    return weights / weights.sum(1, keepdims=True)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Compute Keys' cubic convolution kernel; it is 0 from a distance of 2 on."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
