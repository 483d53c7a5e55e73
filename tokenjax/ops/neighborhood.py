"""Adaptive local pooling: tokens of a square grid averaged by their 3x3 neighbourhoods.

For token t with neighbours n(t, 1..K), all on a grid of g x g = N tokens:

    w(t, k) = softmax_k(cosine(x_t, x_n(t,k)) / T),   class token = mean_t sum_k w x_n

The list n (mu1sd/VDPA, `build_grid_neighbors`) scans the 3x3 window row by row, skips
what lies outside the grid, appends the centre until there are K entries, and is cut to
K. Only how often each cell of the window occurs in it matters, so the pooling works on
nine shifts of the grid instead of gathering (batch, tokens, K, dim), and sums each
token's share in the result before it touches the tokens again.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

WINDOW = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))
BORDERS = ("center", "renormalise")
_NORM_FLOOR = 1e-8  # of torch.nn.functional.cosine_similarity


@functools.lru_cache
def grid_neighbors(grid: int, num_neighbors: int) -> np.ndarray:
    """Return the table of every token's neighbours, as VDPA builds it.

    Args:
      grid: side g of the token grid.
      num_neighbors: K.

    Returns: (g * g, K) int64, indices of tokens.
    """
    table = np.empty((grid * grid, num_neighbors), np.int64)
    for token in range(grid * grid):
        inside = [index for index in _window_indices(grid, token) if index is not None]
        padding = [token] * max(num_neighbors - len(inside), 0)
        table[token] = (inside + padding)[:num_neighbors]
    table.setflags(write=False)
    return table


def adaptive_local_pooling(
    tokens: jax.Array,
    num_neighbors: int = 9,
    temperature: float = 1.0,
    border: str = "center",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pool a square grid of tokens into one vector.

    Args:
      tokens: (batch, tokens, dim), tokens a square number, row-major.
      num_neighbors: K, at least 1.
      temperature: T of the softmax over neighbours.
      border: "center" (recorded) repeats the centre for cells outside the grid;
        "renormalise" leaves them out.

    Returns:
      pooled: (batch, dim).
      shares: (batch, tokens), each token's weight in `pooled`; sums to 1.
      window_weights: (batch, tokens, 9), weight of every cell of a token's 3x3 window,
        row by row, repeats of the centre added up; sums to 1 over the window.

    Raises: ValueError for a token count that is no square, K < 1, an unknown border, or
      a border and K that leave a token without neighbours.
    """
    batch, num_tokens, dim = tokens.shape
    grid = round(num_tokens**0.5)
    if grid * grid != num_tokens:
        raise ValueError(f"{num_tokens} tokens are not a square grid")
    counts = _window_counts(grid, num_neighbors, border)  # (9, grid, grid)

    values = tokens.astype(jnp.float32).reshape(batch, grid, grid, dim)
    # Not jnp.linalg.norm: its gradient at a zero token is NaN.
    squared = jnp.sum(values**2, axis=-1, keepdims=True)
    directions = values * jax.lax.rsqrt(jnp.maximum(squared, _NORM_FLOOR**2))
    padded = jnp.pad(directions, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cosines = jnp.stack(
        [jnp.sum(directions * _shift(padded, *cell), -1) for cell in WINDOW], axis=1
    )  # (batch, 9, grid, grid)
    with np.errstate(divide="ignore"):
        log_counts = np.log(counts, dtype=np.float32)  # -inf: not a neighbour
    weights = jax.nn.softmax(cosines / temperature + log_counts, axis=1)

    # Token j gets what its window's tokens give it: each cell's weights, shifted back.
    received = jnp.pad(weights, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifted = [
        _shift(received[:, cell], -row, -column)
        for cell, (row, column) in enumerate(WINDOW)
    ]
    shares = jnp.stack(shifted).sum(0).reshape(batch, num_tokens) / num_tokens
    pooled = jnp.einsum("bn,bnc->bc", shares, values.reshape(batch, num_tokens, dim))
    window_weights = weights.reshape(batch, 9, num_tokens).swapaxes(1, 2)
    return pooled.astype(tokens.dtype), shares, window_weights


@functools.lru_cache
def _window_counts(grid: int, num_neighbors: int, border: str) -> np.ndarray:
    """Count each cell of the window in each token's list: (9, grid, grid)."""
    if border not in BORDERS:
        raise ValueError(f"unknown border {border!r}; valid: {', '.join(BORDERS)}")
    if num_neighbors < 1:
        raise ValueError(f"a token needs at least 1 neighbour, got {num_neighbors}")
    counts = np.zeros((9, grid * grid))
    for token in range(grid * grid):
        window = _window_indices(grid, token)
        inside = [cell for cell, index in enumerate(window) if index is not None]
        counts[inside[:num_neighbors], token] = 1
        if border == "center":
            center = WINDOW.index((0, 0))
            counts[center, token] += max(num_neighbors - len(inside), 0)
    return counts.reshape(9, grid, grid)


def _window_indices(grid: int, token: int) -> list[int | None]:
    """Return token indices of the 3x3 window, row by row; None outside the grid."""
    center_row, center_column = divmod(token, grid)
    cells = [(center_row + row, center_column + column) for row, column in WINDOW]
    return [
        row * grid + column if 0 <= row < grid and 0 <= column < grid else None
        for row, column in cells
    ]


def _shift(padded: jax.Array, row: int, column: int) -> jax.Array:
    """View a padded grid (batch, grid + 2, grid + 2, ...) from (row, column)."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    return padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]
