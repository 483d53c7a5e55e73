"""Retrieval metrics of re-identification: CMC, mAP and mINP.

Features are divided by max(norm, 1e-12); the distance is |q|^2 + |g|^2 - 2 q.g in
float32. Per query the gallery entries of its own identity AND its own group are left
out: groups are cameras (Market-1501's protocol; RGBNT201, RGBNT100) or scenes
(MSVR310). So is junk, all entries of identity -1: neither right nor wrong, by
Market-1501's rule, whose distractors are entries of an identity that no query is of.
The others are ranked by (distance, gallery index), from 1: ties are stable. With
r_1 < ... < r_n the ranks of a query's n matches (entries of its identity):

    CMC(k)  share of queries with r_1 <= k
    AP      1/n sum_i i / r_i; mAP is its mean
    INP     n / r_n; mINP is its mean (Ye et al. 2021, arXiv 2001.04193, section 4.2)

over the queries that have a match; the others do not count, nor does a query of
identity -1. A CMC curve ends at the last rank that there is, that of the gallery
without junk, and goes on with its last value for a query of which less is kept.

Exact, and the query x gallery matrix is never held: `block_rows` rows of it at a time,
on the device. Another `block_rows`, or another device, may round a distance's last bit
otherwise; within a call equal gallery features are at equal distances.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from tokenjax.errors import UserError
from tokenjax.evaluation import retrieval_blocks as blocks

BLOCK_ROWS = 64  # 25 MB at 100,000 gallery entries; more is no faster
Array = np.ndarray | jax.Array
Integers = np.ndarray | Sequence[int]
Block = Callable[[np.ndarray], jax.Array]  # queries (rows,) -> distances (rows, g)


@dataclasses.dataclass(frozen=True, eq=False)
class Retrieval:
    """Scores of a ranking; see the module's docstring."""

    cmc: np.ndarray  # (max_rank or the gallery's size,) float64, from rank 1
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    average_precision: np.ndarray  # (q,) float64, nan for a query without a match
    num_valid: int  # queries with a match
    num_queries: int
    num_junk: int = 0  # gallery entries of identity -1

    def summary(self) -> dict[str, Any]:
        """Return plain numbers for `json.dump`; None for ranks beyond the gallery."""

        def rank(k: int) -> float | None:
            return float(self.cmc[k - 1]) if k <= len(self.cmc) else None

        return {
            "mAP": self.mean_average_precision,
            "mINP": self.mean_inverse_negative_penalty,
            "rank1": rank(1),
            "rank5": rank(5),
            "rank10": rank(10),
            "cmc": self.cmc.tolist(),
            "queries": self.num_queries,
            "valid_queries": self.num_valid,
            "junk": self.num_junk,
        }


def evaluate_retrieval(
    query_features: Array,
    gallery_features: Array,
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
    *,
    max_rank: int = 50,
    block_rows: int = BLOCK_ROWS,
    progress: Callable[[int], object] | None = None,
) -> Retrieval:
    """Rank the gallery for every query by features, and score the ranking.

    Args:
      query_features, gallery_features: (q, d) and (g, d).
      query_ids, gallery_ids, query_groups, gallery_groups: (q,) or (g,) integers, in
        arrays or lists.
      max_rank: length of the CMC, unless the gallery is smaller.
      block_rows: queries at a time; rounded up to a multiple of 8.
      progress: called with how many queries have just been finished.

    Raises:
      UserError: a feature that is no finite number, or no query with a match.
      ValueError: shapes that disagree.
    """
    matches = _matches(query_ids, gallery_ids, query_groups, gallery_groups)
    block = _feature_block(query_features, gallery_features, matches)
    return _evaluate(block, matches, max_rank, block_rows, progress)


def evaluate_distances(
    distances: np.ndarray,
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
    *,
    max_rank: int = 50,
    block_rows: int = BLOCK_ROWS,
) -> Retrieval:
    """Score a ranking by distances (q, g) found otherwise, such as re-ranked ones.

    They are compared in float32: what rounds to the same number there is a tie.

    Raises:
      UserError: a distance that is no finite number, or no query with a match.
      ValueError: shapes that disagree.
    """
    matches = _matches(query_ids, gallery_ids, query_groups, gallery_groups)
    distances = np.asarray(distances, np.float32)
    expected = (len(matches.queries.labels), len(matches.gallery.labels))
    if distances.shape != expected:
        raise ValueError(f"distances must be {expected}, got shape {distances.shape}")
    if not all(np.isfinite(row).all() for row in distances):
        raise UserError("distances hold NaN or infinity; they must be finite")
    block = _leaving_out(matches, lambda rows: jax.device_put(distances[rows]))
    return _evaluate(block, matches, max_rank, block_rows)


def count_matches(
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
) -> np.ndarray:
    """Return how many matches every query has in the gallery, (q,).

    Raises: ValueError for shapes that disagree.
    """
    return _matches(query_ids, gallery_ids, query_groups, gallery_groups).counts


def rank_lists(
    query_features: Array,
    gallery_features: Array,
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
    count: int = 10,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first entries of every query's ranking, for pictures.

    Returns: gallery indices (q, count) int64, -1 where fewer are kept; and which of
    them are matches (q, count) bool.

    Raises: as `evaluate_retrieval`; that no query has a match is no mistake here.
    """
    _check_positive("count", count)
    matches = _matches(query_ids, gallery_ids, query_groups, gallery_groups)
    block = _feature_block(query_features, gallery_features, matches)
    queries, gallery = matches.queries.labels, matches.gallery.labels
    indices = np.full((len(queries), count), -1, np.int64)
    found = min(count, len(gallery))
    for rows, full in _blocks(np.arange(len(queries)), BLOCK_ROWS):
        nearest = jax.device_get(blocks.nearest(block(full), count=found))
        indices[rows, :found] = nearest[: len(rows)]
    return indices, (indices >= 0) & (gallery[indices] == queries[:, None])


def _matches(
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
) -> blocks.Matches:
    given = {
        "query_ids": np.asarray(query_ids),
        "gallery_ids": np.asarray(gallery_ids),
        "query_groups": np.asarray(query_groups),
        "gallery_groups": np.asarray(gallery_groups),
    }
    for name, values in given.items():
        length = len(given[name.replace("groups", "ids")])
        if values.shape != (length,) or not length:
            raise ValueError(
                f"{name} must be one integer per feature, at least one: "
                f"got shape {values.shape}"
            )
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} must be integers, got {values.dtype}")
    return blocks.Matches(*given.values())


def _feature_block(
    query_features: Array, gallery_features: Array, matches: blocks.Matches
) -> Block:
    """Return a function of rows of distances, without the query's own entries."""
    sides = []
    for side, features, keys, multiple in (
        ("query", query_features, matches.queries, 1),
        ("gallery", gallery_features, matches.gallery, blocks.COLUMNS_MULTIPLE),
    ):
        if not isinstance(features, jax.Array):
            features = np.asarray(features, np.float32)
        count = len(keys.labels)
        if features.ndim != 2 or len(features) != count or not features.shape[1]:
            raise ValueError(
                f"{side}_features must be ({count}, d) with d > 0, "
                f"got shape {features.shape}"
            )
        length = -(-count // multiple) * multiple
        vectors, finite = blocks.normalize(jax.device_put(features), length=length)
        if not jax.device_get(finite):
            raise UserError(
                f"{side} features hold NaN or infinity; they must be finite"
            )
        sides.append(vectors)
    queries, gallery = sides
    if queries.units.shape[1] != gallery.units.shape[1]:
        raise ValueError(
            f"query features have {queries.units.shape[1]} values, "
            f"gallery features {gallery.units.shape[1]}"
        )
    return _leaving_out(
        matches, lambda rows: blocks.distances(queries, gallery, jax.device_put(rows))
    )


def _leaving_out(matches: blocks.Matches, block: Block) -> Block:
    queries, gallery = jax.device_put((matches.queries, matches.gallery))
    return lambda rows: blocks.leave_out(
        block(rows), queries, gallery, jax.device_put(rows)
    )


def _blocks(queries: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut queries into blocks; also fill them up to one size, with repetitions."""
    size = min(-(-size // 8), -(-len(queries) // 8)) * 8
    parts = [queries[i : i + size] for i in range(0, len(queries), size)]
    return [(part, np.resize(part, size).astype(np.int32)) for part in parts]


def _evaluate(
    block: Block,
    matches: blocks.Matches,
    max_rank: int,
    block_rows: int,
    progress: Callable[[int], object] | None = None,
) -> Retrieval:
    _check_positive("max_rank", max_rank)
    _check_positive("block_rows", block_rows)
    counts = matches.counts
    valid = np.flatnonzero(counts)
    if not len(valid):
        raise UserError(
            f"none of the {len(counts)} queries has a match among the "
            f"{matches.num_ranked} gallery images once those of its own "
            "identity and its own camera or scene are left out"
        )
    if progress:
        progress(len(counts) - len(valid))
    scores = np.full((3, len(counts)), np.nan)  # first rank, AP, INP
    valid = valid[np.argsort(counts[valid], kind="stable")]  # alike ones in a block
    for rows, full in _blocks(valid, block_rows):
        columns = jax.device_put(matches.columns(full))
        ranks = jax.device_get(blocks.ranks(block(full), columns))
        scores[:, rows] = _scores(ranks[: len(rows)], counts[rows])
        if progress:
            progress(len(rows))
    first, average_precision, penalty = scores
    ranks_up_to = np.arange(1, min(max_rank, matches.num_ranked) + 1)
    return Retrieval(
        cmc=(first[valid, None] <= ranks_up_to).mean(axis=0),
        mean_average_precision=float(np.nanmean(average_precision)),
        mean_inverse_negative_penalty=float(np.nanmean(penalty)),
        average_precision=average_precision,
        num_valid=len(valid),
        num_queries=len(counts),
        num_junk=len(matches.gallery.labels) - matches.num_ranked,
    )


def _scores(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return first rank, AP and INP from ranks of matches (rows, m) and counts."""
    positions = np.arange(1, ranks.shape[1] + 1)  # (m,)
    known = positions <= counts[:, None]
    ordered = np.sort(np.where(known, ranks, np.iinfo(np.int32).max), axis=1)
    precision = np.where(known, positions / ordered, 0.0)
    last = np.take_along_axis(ordered, counts[:, None] - 1, axis=1)[:, 0]
    return np.stack([ordered[:, 0], precision.sum(axis=1) / counts, counts / last])


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be positive, got {value}")
