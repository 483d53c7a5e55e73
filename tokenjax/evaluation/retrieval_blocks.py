"""Blocks of rows of the query x gallery matrix, and what a ranking needs of them.

All an evaluation wants to know of a query is the rank of each of its matches,

    rank(m) = 1 + #{j kept: distance(j) < distance(m), or equal and index j < m}

so no row is sorted: comparisons are counted. Where a query has more matches than
`COUNT_UP_TO` that would be quadratic, and its row is sorted after all.

Axes: q queries, g gallery entries (padded with entries infinitely far away), d
features; rows, the queries of one block; m, matches of a query (padded, see `Matches`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Measured at 100,000 gallery entries on 2 CPU cores: a match takes 13 us to count, a
# row 33 ms to sort.
COUNT_UP_TO = 2048
COLUMNS_MULTIPLE = 128  # no ragged edge, where equal vectors might be rounded unequally
SMALLEST_NORM = 1e-12
JUNK = -1  # the identity of images that count neither as right nor as wrong
NOBODY = -1  # what junk of the gallery is numbered


class Keys(NamedTuple):
    """Identities and groups (cameras or scenes), numbered from 0; (n,) int32 each.

    The label of junk in the gallery is `NOBODY`.
    """

    labels: jax.Array | np.ndarray
    groups: jax.Array | np.ndarray


class Vectors(NamedTuple):
    """Unit vectors (n, d) and their squared lengths (n,)."""

    units: jax.Array
    squares: jax.Array


@functools.partial(jax.jit, static_argnames="length")
def normalize(features: jax.Array, length: int) -> tuple[Vectors, jax.Array]:
    """Normalize features (n, d) to (length, d); also return if all are finite.

    They are divided by max(norm, 1e-12).
    """
    features = features.astype(jnp.float32)
    norms = jnp.sqrt(jnp.sum(features**2, axis=1, keepdims=True))
    units = features / jnp.maximum(norms, SMALLEST_NORM)  # (n, d)
    squares = jnp.sum(units**2, axis=1)
    more = length - len(features)
    padded = Vectors(
        jnp.pad(units, ((0, more), (0, 0))),
        jnp.pad(squares, (0, more), constant_values=jnp.inf),
    )
    return padded, jnp.isfinite(features).all()


@jax.jit
def distances(queries: Vectors, gallery: Vectors, rows: jax.Array) -> jax.Array:
    """Compute |q|^2 + |g|^2 - 2 q.g for the queries `rows`, (rows, g)."""
    products = lax.dot_general(
        queries.units[rows],
        gallery.units,
        (((1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST,  # elsewhere than on CPU not the default
    )
    return queries.squares[rows][:, None] + gallery.squares - 2 * products


@functools.partial(jax.jit, donate_argnums=0)
def leave_out(
    block: jax.Array, queries: Keys, gallery: Keys, rows: jax.Array
) -> jax.Array:
    """Set the block (rows, g) to infinity where an entry is the query's own, or junk.

    Its own is of its identity and its group. Padding is far away already.
    """
    more = (0, block.shape[1] - len(gallery.labels))
    labels = jnp.pad(gallery.labels, more, constant_values=NOBODY)  # (g,)
    groups = jnp.pad(gallery.groups, more)
    own = (queries.labels[rows][:, None] == labels) & (
        queries.groups[rows][:, None] == groups
    )
    return jnp.where(own | (labels == NOBODY), jnp.inf, block)


@jax.jit
def ranks(block: jax.Array, columns: jax.Array) -> jax.Array:
    """Rank the entries `columns` from 1, (rows, g), (rows, m) -> (rows, m)."""
    rank = _count if columns.shape[1] <= COUNT_UP_TO else _sort
    # By rows: one, of a few hundred kilobytes, stays in the cache for all its matches.
    return lax.map(lambda row: rank(*row), (block, columns))


def _count(row: jax.Array, columns: jax.Array) -> jax.Array:
    """Rank entries of a row (g,) by counting those before them: (m,) -> (m,)."""
    matches, indices = row[columns][:, None], jnp.arange(len(row))  # (m, 1), (g,)
    equal = (row == matches) & (indices < columns[:, None])  # (m, g), never stored
    return 1 + jnp.sum((row < matches) | equal, axis=1, dtype=jnp.int32)


def _sort(row: jax.Array, columns: jax.Array) -> jax.Array:
    """Rank entries of a row (g,) by sorting it: (m,) -> (m,)."""
    order = jnp.argsort(row, stable=True)  # (g,)
    positions = jnp.zeros_like(order).at[order].set(jnp.arange(len(row)))
    return 1 + positions[columns].astype(jnp.int32)


@functools.partial(jax.jit, static_argnames="count")
def nearest(block: jax.Array, count: int) -> jax.Array:
    """Return the first `count` of each row in ascending order; -1: none."""
    closeness, columns = lax.top_k(-block, count)  # of equal ones the lower index first
    return jnp.where(jnp.isneginf(closeness), -1, columns)


class Matches:
    """Matches of every query: gallery entries of its identity and another group.

    Attributes:
      queries, gallery: `Keys`; ids and groups may be any integers, these count from 0.
      counts: (q,) matches of each query.
      num_ranked: entries of the gallery that are no junk.
    """

    def __init__(
        self,
        query_ids: np.ndarray,
        gallery_ids: np.ndarray,
        query_groups: np.ndarray,
        gallery_groups: np.ndarray,
    ):
        labels = _number(query_ids, gallery_ids)
        groups = _number(query_groups, gallery_groups)
        self.queries = Keys(labels[0], groups[0])
        junk = np.asarray(gallery_ids) == JUNK  # (g,)
        known = np.where(junk, np.int32(NOBODY), labels[1])  # so no query's label
        self.gallery = Keys(known, groups[1])
        self.num_ranked = len(junk) - int(junk.sum())
        self._order = np.argsort(known, kind="stable")  # (g,) by identity, index
        ordered = known[self._order]
        self._start = np.searchsorted(ordered, labels[0], "left")  # (q,)
        self._stop = np.searchsorted(ordered, labels[0], "right")
        factor = 1 + max(int(each.max()) for each in groups)
        own, theirs = (
            side.labels.astype(np.int64) * factor + side.groups
            for side in (self.queries, self.gallery)
        )
        theirs = np.sort(theirs)
        left_out = np.searchsorted(theirs, own, "right") - np.searchsorted(theirs, own)
        self.counts = self._stop - self._start - left_out

    def columns(self, rows: np.ndarray) -> np.ndarray:
        """Return indices of the matches of the queries `rows`, (rows, m) int32.

        Query i has `counts[i]` of them, then zeros. m is a power of two, so that few
        programs are compiled.
        """
        size = max(8, 1 << int(self.counts[rows].max() - 1).bit_length())
        found = np.zeros((len(rows), size), np.int32)
        for row, query in enumerate(rows):
            entries = self._order[self._start[query] : self._stop[query]]
            other = self.gallery.groups[entries] != self.queries.groups[query]
            found[row, : self.counts[query]] = entries[other]
        return found


def _number(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give equal integers equal numbers from 0; (q,) and (g,) int32."""
    _, numbers = np.unique(np.concatenate([first, second]), return_inverse=True)
    numbers = numbers.astype(np.int32)
    return numbers[: len(first)], numbers[len(first) :]
