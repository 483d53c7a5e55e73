"""Position embeddings of one patch grid for another: bilinear, without antialiasing.

    new[i, j] = sum over u, v of hat(y_i - u) hat(x_j - v) old[u, v]
    y_i = (i + 1/2) old_height / new_height - 1/2, cut to the old grid; hat(t) = max(0,
    1 - |t|)

what PyTorch's `interpolate(mode="bilinear", align_corners=False)` computes (and
`jax.image.resize` with antialias=False). The row of the class token stays as it is.
"""

import numpy as np


def resize(
    embedding: np.ndarray, grid_from: tuple[int, int], grid_to: tuple[int, int]
) -> np.ndarray:
    """Resize a position embedding to another grid.

    Args:
      embedding: (..., 1 + rows * columns, dim), the class row first, then `grid_from`
        row by row; a numpy array or what turns into one.
      grid_from: (rows, columns) it was made for.
      grid_to: (rows, columns) wanted.

    Returns: (..., 1 + new rows * new columns, dim) of the same dtype.

    Raises: ValueError if the embedding is not of `grid_from`.
    """
    embedding = np.asarray(embedding)
    rows, columns = grid_from
    if embedding.ndim < 2 or embedding.shape[-2] != 1 + rows * columns:
        raise ValueError(
            f"a position embedding of a {rows} x {columns} grid is (..., "
            f"{1 + rows * columns}, dim), the class row first; got {embedding.shape}"
        )
    if tuple(grid_from) == tuple(grid_to):
        return embedding
    class_row, patches = embedding[..., :1, :], embedding[..., 1:, :]
    vertical, horizontal = map(_interpolation, grid_from, grid_to)
    resized = np.kron(vertical, horizontal) @ patches.astype(np.float64)
    return np.concatenate([class_row, resized.astype(embedding.dtype)], axis=-2)


def _interpolation(length: int, new_length: int) -> np.ndarray:
    """Return the matrix (new_length, length) of linear interpolation along an axis."""
    centres = (np.arange(new_length) + 0.5) * length / new_length - 0.5
    centres = np.clip(centres, 0, length - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(length)))
