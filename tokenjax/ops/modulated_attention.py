"""VDPA's local attention, whose matrix of weights is never whole in memory.

    L = q k^T / sqrt(d),  M = softmax(L / T),  A = softmax(L * M),  out = A v

is `soft_topk.modulated_softmax(L) @ v`, row by row of queries, so it is computed for a
tile of queries at a time, and the gradient computes a tile's weights again from four
numbers a row instead of reading them back (as in FlashAttention, Dao et al. 2022, here
for two softmaxes). What else saves time:

- max_k L M is found without a pass over the keys: x exp(x / T) falls up to x = -T and
  rises from there, so its maximum over a row is at the row's largest or smallest L;
- rows are divided by their sum after the product with v, not before;
- the gradients of k and v are computed transposed, as products of (d, queries) with
  (queries, keys): on CPU twice as fast as turning the weights.

Times and memory against the plain product are in docs/benchmarks.md.

Axes: batch b, heads h, queries n, keys m, head_dim d; tile t of queries.
"""

import functools
import math
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from tokenjax.ops import soft_topk

TILE = 256  # queries at a time, at most: (heads, 256, 1024) float32 stay in cache
Tree = TypeVar("Tree")  # of arrays


class _Rows(NamedTuple):
    """Sums and maxima of each row of logits, each (b, h, n, 1) float32."""

    highest: jax.Array  # max L
    mask_sum: jax.Array  # sum exp((L - highest) / T)
    modulated: jax.Array  # max L M
    sum: jax.Array  # sum exp(L M - modulated)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def modulated_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    temperature: float,
    tile: int = TILE,
) -> jax.Array:
    """Mix the values by `modulated_softmax` of the queries' and keys' logits.

    Logits and weights are float32 whatever the type of the arguments.
    Reverse mode only.

    Args:
      query: (b, h, n, d).
      key: (b, h, m, d).
      value: (b, h, m, d).
      temperature: T of the mask, above 0.
      tile: queries at a time, at most.

    Returns: (b, h, n, d) in the type of `value`.

    Raises: ValueError if the temperature is not positive.
    """
    return _forward(query, key, value, temperature, tile)[0]


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    temperature: float,
    tile: int,
) -> tuple[jax.Array, tuple]:
    soft_topk.check_temperature(temperature)

    def one(queries: jax.Array) -> tuple[jax.Array, _Rows]:
        logits = _logits(queries, key)
        lowest = logits.min(axis=-1, keepdims=True)
        highest = logits.max(axis=-1, keepdims=True)
        mask = jnp.exp((logits - highest) / temperature)
        mask_sum = mask.sum(axis=-1, keepdims=True)
        smallest = lowest * jnp.exp((lowest - highest) / temperature)
        modulated = jnp.maximum(highest, smallest) / mask_sum
        weights = jnp.exp(logits * (mask / mask_sum) - modulated)
        total = weights.sum(axis=-1, keepdims=True)
        mixed = _product("bhtm,bhmd->bhtd", weights.astype(value.dtype), value)
        rows = _Rows(highest, mask_sum, modulated, total)
        return (mixed / total).astype(value.dtype), rows

    tiles = _split(query, tile)
    mixed, rows = one(tiles[0]) if len(tiles) == 1 else jax.lax.map(one, tiles)
    if len(tiles) > 1:
        mixed, rows = _join((mixed, rows), query.shape[2])
    return mixed, (query, key, value, mixed, rows)


def _backward(
    temperature: float, tile: int, saved: tuple, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    query, key, value, mixed, rows = saved

    def one(sums: tuple, part: tuple) -> tuple[tuple, jax.Array]:
        queries, outputs, gradients, row = part
        logits = _logits(queries, key)
        mask = jnp.exp((logits - row.highest) / temperature) / row.mask_sum
        weights = jnp.exp(logits * mask - row.modulated) / row.sum
        along = (gradients.astype(jnp.float32) * outputs).sum(axis=-1, keepdims=True)
        of_weights = _product("bhtd,bhmd->bhtm", gradients, value)
        modulated = weights * (of_weights - along)  # with respect to L M
        through = modulated * logits
        through -= (mask * through).sum(axis=-1, keepdims=True)
        of_logits = mask * (modulated + through / temperature)
        of_logits = (of_logits * _scale(query)).astype(query.dtype)
        of_key, of_value = sums
        of_key += _product("bhtd,bhtm->bhdm", queries, of_logits)
        weights = weights.astype(value.dtype)
        of_value += _product("bhtd,bhtm->bhdm", gradients, weights)
        return (of_key, of_value), _product("bhtm,bhmd->bhtd", of_logits, key)

    ones = functools.partial(_split, tile=tile, fill=1)  # 0 would be divided by
    operands = jax.tree.map(lambda x: _split(x, tile), (query, mixed, gradient))
    parts = (*operands, jax.tree.map(ones, rows))
    batch, heads, keys, dim = key.shape
    zeros = jnp.zeros((batch, heads, dim, keys), jnp.float32)
    (of_key, of_value), of_query = jax.lax.scan(one, (zeros, zeros), parts)
    of_query = _join(of_query, query.shape[2]).astype(query.dtype)
    of_key = of_key.swapaxes(2, 3).astype(key.dtype)
    return of_query, of_key, of_value.swapaxes(2, 3).astype(value.dtype)


modulated_attention.defvjp(_forward, _backward)


def _logits(queries: jax.Array, key: jax.Array) -> jax.Array:
    return _product("bhtd,bhmd->bhtm", queries, key) * _scale(queries)


def _scale(query: jax.Array) -> float:
    return query.shape[-1] ** -0.5


def _product(axes: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(axes, left, right, preferred_element_type=jnp.float32)


def _split(rows: jax.Array, tile: int, fill: float = 0) -> jax.Array:
    """Cut (b, h, n, c) into (tiles, b, h, t, c), tiles alike, the last filled up.

    A query of zeros attends evenly, and its gradient is 0.
    """
    batch, heads, count, width = rows.shape
    tiles = math.ceil(count / tile)
    size = math.ceil(count / tiles)
    missing = tiles * size - count
    if missing:
        widths = ((0, 0), (0, 0), (0, missing), (0, 0))
        rows = jnp.pad(rows, widths, constant_values=fill)
    return rows.reshape(batch, heads, tiles, size, width).transpose(2, 0, 1, 3, 4)


def _join(tiles: Tree, count: int) -> Tree:
    """Invert `_split` on every array of a tree; `count` rows are kept."""

    def one(array: jax.Array) -> jax.Array:
        parts, batch, heads, size, width = array.shape
        rows = array.transpose(1, 2, 0, 3, 4)
        return rows.reshape(batch, heads, parts * size, width)[:, :, :count]

    return jax.tree.map(one, tiles)
