"""Chance in retrieval: the results of a random ranking, to hold others against.

Of a query's N kept gallery entries R are matches. In a random order

    P(rank 1 is a match) = R / N
    P(one of the first k is a match) = 1 - prod_{i=0..k-1} (N - R - i) / (N - i)
    E[AP] = 1/N sum_{k=1..N} 1/k (1 + (R - 1)(k - 1) / (N - 1))

the last because AP = 1/R sum over matches at rank k of (matches up to k) / k, a match
is at rank k with probability R / N, and each other match is before it with (k-1)/(N-1).
"""

import numpy as np

from tokenjax.errors import UserError
from tokenjax.evaluation.retrieval import Integers
from tokenjax.evaluation.retrieval_blocks import JUNK


def chance_of_retrieval(
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
) -> dict[str, float]:
    """Return a random ranking's expected "rank1" and "mAP".

    Over the queries with a match.

    Args: integers (q,) or (g,), in arrays or lists; gallery entries of the query's
    identity and group are left out, and all of identity -1, as `evaluate_retrieval`
    does.

    Raises: UserError if no query has a match.
    """
    found = [
        (matches / kept, _average_precision(matches, kept))
        for matches, kept in _count(
            query_ids, gallery_ids, query_groups, gallery_groups
        )
    ]
    first, precision = np.mean(found, axis=0)
    return {"rank1": float(first), "mAP": float(precision)}


def chance_by_rank(
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
    ranks: int,
) -> np.ndarray:
    """Return the chance (ranks,) that a match is among the first 1, 2, ... ranks.

    The mean over the queries with a match: the CMC curve of a random ranking. Where
    less is kept than there are ranks it is 1 from there on.

    Args: see `chance_of_retrieval`; `ranks`: how many.

    Raises: UserError if no query has a match.
    """
    counts = _count(query_ids, gallery_ids, query_groups, gallery_groups)
    different, numbers = np.unique(counts, axis=0, return_counts=True)
    matches, kept = different.T[:, :, None]  # (some, 1)
    before = np.arange(ranks)  # (ranks,)
    wrong = np.maximum(kept - matches - before, 0)
    none = np.cumprod(wrong / np.maximum(kept - before, 1), axis=1)
    return np.average(1 - none, axis=0, weights=numbers)


def _count(
    query_ids: Integers,
    gallery_ids: Integers,
    query_groups: Integers,
    gallery_groups: Integers,
) -> list[tuple[int, int]]:
    """Return matches and kept entries of every query that has a match.

    Raises: UserError if none has.
    """
    gallery_ids, gallery_groups = np.asarray(gallery_ids), np.asarray(gallery_groups)
    junk = gallery_ids == JUNK
    counts = []
    for identity, group in zip(query_ids, query_groups, strict=True):
        same = gallery_ids == identity
        left_out = (same & (gallery_groups == group)) | junk
        kept, matches = len(gallery_ids) - left_out.sum(), (same & ~left_out).sum()
        if matches:
            counts.append((int(matches), int(kept)))
    if not counts:
        raise UserError("no query has a match in the gallery")
    return counts


def _average_precision(matches: int, kept: int) -> float:
    """Return E[AP] of `matches` among `kept` in random order."""
    before = np.arange(kept)  # k - 1
    share = (matches - 1) * before / max(kept - 1, 1)
    return float(np.mean((1 + share) / (before + 1)))
