"""Chance in retrieval: the results of a random ranking, to hold others against.

Of a query's N kept gallery entries R are matches. In a random order

    P(rank 1 is a match) = R / N
    E[AP] = 1/N sum_{k=1..N} 1/k (1 + (R - 1)(k - 1) / (N - 1))

the latter because AP = 1/R sum over matches at rank k of (matches up to k) / k, a match
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
    gallery_ids, gallery_groups = np.asarray(gallery_ids), np.asarray(gallery_groups)
    junk = gallery_ids == JUNK
    first, precision = [], []
    for identity, group in zip(query_ids, query_groups, strict=True):
        same = gallery_ids == identity
        left_out = (same & (gallery_groups == group)) | junk
        kept, matches = len(gallery_ids) - left_out.sum(), (same & ~left_out).sum()
        if matches:
            first.append(matches / kept)
            precision.append(_average_precision(int(matches), int(kept)))
    if not first:
        raise UserError("no query has a match in the gallery")
    return {"rank1": float(np.mean(first)), "mAP": float(np.mean(precision))}


def _average_precision(matches: int, kept: int) -> float:
    """Return E[AP] of `matches` among `kept` in random order."""
    before = np.arange(kept)  # k - 1
    share = (matches - 1) * before / max(kept - 1, 1)
    return float(np.mean((1 + share) / (before + 1)))
