"""k-reciprocal re-ranking of a retrieval (Zhong et al. 2017, arXiv 1701.08398).

Over the n = q + g features together, d(i, j) the squared euclidean distance of unit
vectors, divided by the largest in row i, and N(i, k) the k + 1 nearest of i, itself
among them:

    R(i, k)  = {j in N(i, k): i in N(j, k)}
    R*(i)    = R(i, k1) and every R(j, k1/2) with j in R(i, k1), |R(i, k1) n R(j, k1/2)|
               > 2/3 |R(j, k1/2)|; k1/2 rounded, halves to even
    V(i, j)  = exp(-d(i, j)) for j in R*(i), else 0; rows divided by their sums; then
               the mean of V over the k2 nearest of i (none if k2 is 1)
    S(i, j)  = sum_l min(V(i, l), V(j, l))
    distance = (1 - lambda) (1 - S / (2 - S)) + lambda d

V, S and the Jaccard distance are float16, as in the original program, which rounds the
sum S at every step: near ties fall as they fell there. Ties of d are stable.

Every image takes part, for nothing here knows identities. Junk (identity -1) has to be
taken out before, as our sources do, or it stands among the neighbours of others
although no ranking has it.

Memory: d is held twice for a moment, 8 (q + g)^2 bytes (850 MB for RGBNT100).
"""

import numpy as np
from scipy import sparse

from tokenjax.errors import UserError

SORTED_ROWS = 256  # at a time: the order of all takes twice the memory of d


def rerank_distances(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    k1: int = 50,
    k2: int = 15,
    lambda_value: float = 0.3,
) -> np.ndarray:
    """Compute re-ranked distances (q, g) float32, for `evaluate_distances`.

    Args:
      query_features, gallery_features: (q, d) and (g, d), of any length: they are
        divided by max(norm, 1e-12).
      k1: neighbours that have to be mutual.
      k2: neighbours whose V are averaged.
      lambda_value: share of the distance as it was, 0..1.

    Raises:
      UserError: a number out of range, or features that are not finite.
      ValueError: shapes that disagree.
    """
    _check(k1, k2, lambda_value)
    queries, gallery = (
        np.asarray(features, np.float32)
        for features in (query_features, gallery_features)
    )
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "features must be (q, d) and (g, d), "
            f"got shapes {queries.shape} and {gallery.shape}"
        )
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise UserError("features hold NaN or infinity; they must be finite")
    distances = _relative_distances(np.concatenate([queries, gallery]))
    neighbors = _neighbors(distances, max(k1 + 1, k2))  # (n, k)
    weights = _weights(distances, _expanded(neighbors, k1))
    if k2 != 1:
        weights = _averaged(weights, neighbors[:, :k2])
    jaccard = _jaccard_distances(weights, len(queries))[:, len(queries) :]
    original = distances[: len(queries), len(queries) :]
    share = float(lambda_value)  # numpy's own float64 would make the result float64
    return jaccard * (1 - share) + original * share


def _check(k1: int, k2: int, lambda_value: float) -> None:
    if k1 < 1 or k2 < 1:
        raise UserError(f"k1 and k2 must be positive, got {k1} and {k2}")
    if not 0 <= lambda_value <= 1:
        raise UserError(f"lambda_value must be within [0, 1], got {lambda_value}")


def _relative_distances(features: np.ndarray) -> np.ndarray:
    """Compute d, (n, n) float32."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.maximum(norms, 1e-12)
    squares = np.sum(features**2, axis=1)
    distances = features @ features.T
    distances *= -2
    distances += squares[:, None] + squares
    largest = distances.max(axis=1, keepdims=True)
    distances /= np.where(largest > 0, largest, 1)  # 0 where all features are equal
    return distances


def _neighbors(distances: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the nearest, nearest first, (n, count)."""
    parts = [
        np.argsort(distances[i : i + SORTED_ROWS], axis=1, kind="stable")[:, :count]
        for i in range(0, len(distances), SORTED_ROWS)
    ]
    return np.concatenate(parts)


def _table(neighbors: np.ndarray) -> sparse.csr_array:
    """Turn indices (n, k) into a table (n, n) with 1 where row i lists j."""
    rows, count = neighbors.shape
    ends = np.arange(rows + 1) * count
    ones = np.ones(rows * count, np.float32)
    return sparse.csr_array((ones, neighbors.ravel(), ends), shape=(rows, rows))


def _reciprocal(neighbors: np.ndarray) -> sparse.csr_array:
    """Return R, (n, n): 1 where i and j list each other."""
    table = _table(neighbors)
    return table.multiply(table.T).tocsr()


def _expanded(neighbors: np.ndarray, k1: int) -> sparse.coo_array:
    """Return R*, (n, n), positive for its members."""
    close = _reciprocal(neighbors[:, : k1 + 1])
    closer = _reciprocal(neighbors[:, : round(k1 / 2) + 1])
    sizes = closer.sum(axis=1)  # (n,) of R(j, k1/2)
    overlap = (close @ closer.T).multiply(close).tocoo()  # of R(i, k1) and R(j, k1/2)
    taken = overlap.data > 2 / 3 * sizes[overlap.col].astype(np.float64)
    rows, columns = overlap.row[taken], overlap.col[taken]
    added = sparse.csr_array(
        (np.ones(len(rows), np.float32), (rows, columns)), shape=overlap.shape
    )
    return (close + added @ closer).tocoo()


def _weights(distances: np.ndarray, members: sparse.coo_array) -> sparse.csr_array:
    """Return V, (n, n): float16 values stored as float32, which scipy can."""
    rows, columns = members.row, members.col
    values = np.exp(-distances[rows, columns])
    sums = np.bincount(rows, values, minlength=len(distances))
    values = _half((values / sums[rows]).astype(np.float32))
    return sparse.csr_array((values, (rows, columns)), shape=distances.shape)


def _averaged(weights: sparse.csr_array, neighbors: np.ndarray) -> sparse.csr_array:
    """Average V over the neighbours (n, k2) of each row."""
    averaged = _table(neighbors) @ weights
    averaged.data = _half(averaged.data / neighbors.shape[1])
    return averaged


def _half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def _jaccard_distances(weights: sparse.csr_array, queries: int) -> np.ndarray:
    """Return 1 - S / (2 - S) of the first rows with all, (q, n) float16."""
    weights.eliminate_zeros()
    weights.sort_indices()
    by_column = weights.tocsc()
    starts, lengths = by_column.indptr[:-1], np.diff(by_column.indptr)  # (n,)
    columns_values = by_column.data.astype(np.float16)
    overlap = np.zeros((queries, weights.shape[0]), np.float16)  # S
    for query in range(queries):
        own = slice(*weights.indptr[query : query + 2])
        columns, values = weights.indices[own], weights.data[own].astype(np.float16)
        sizes = lengths[columns]
        # Entries of these columns, one column after the other.
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        entries = np.repeat(starts[columns], sizes) + within
        smaller = np.minimum(np.repeat(values, sizes), columns_values[entries])
        np.add.at(overlap[query], by_column.indices[entries], smaller)
    return 1 - overlap / (2 - overlap)
