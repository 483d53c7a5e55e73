"""k-reciprocal re-ranking: the recorded case, and its definition set by set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.errors import UserError
from tokenjax.evaluation import evaluate_distances, reranking


def test_recorded(golden, assert_close):
    case = golden("reid/rerank")
    numbers = {
        key: case.meta["constructor_args"][key] for key in ("k1", "k2", "lambda_value")
    }
    found = reranking.rerank_distances(
        case["input/query"], case["input/gallery"], **numbers
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, case["output/distance"], atol=2e-6)


def plain(features, queries, k1, k2, share):
    """The definition in the module's docstring, in float64."""
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    distances = ((units[:, None] - units) ** 2).sum(-1)
    distances /= distances.max(axis=1, keepdims=True)
    total = len(features)
    nearest = np.argsort(distances, axis=1, kind="stable").tolist()

    def mutual(i, k):
        return {j for j in nearest[i][: k + 1] if i in nearest[j][: k + 1]}

    weights = np.zeros((total, total))
    for i in range(total):
        close = mutual(i, k1)
        members = set(close)
        for j in close:
            other = mutual(j, round(k1 / 2))
            if 3 * len(close & other) > 2 * len(other):
                members |= other
        members = sorted(members)
        weights[i, members] = np.exp(-distances[i, members])
    weights /= weights.sum(axis=1, keepdims=True)
    weights = np.stack([weights[nearest[i][:k2]].mean(axis=0) for i in range(total)])
    overlap = np.minimum(weights[:, None], weights).sum(axis=-1)
    blended = (1 - share) * (1 - overlap / (2 - overlap)) + share * distances
    return blended[:queries, queries:]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.integers(1, 9),
    st.floats(0, 1),
    st.sampled_from([(4, 30), (15, 9), (1, 3)]),
)
def test_against_the_definition(seed, k1, k2, share, sizes):
    queries, total = sizes[0], sum(sizes)
    rng = np.random.default_rng(seed)
    identities = rng.integers(0, 4, total)
    features = rng.standard_normal((4, 6))[identities]
    features = features + 0.5 * rng.standard_normal((total, 6))
    found = reranking.rerank_distances(
        features[:queries], features[queries:], k1, k2, share
    )
    expected = plain(features, queries, k1, k2, share)
    np.testing.assert_allclose(found, expected, atol=5e-3)  # sums of float16


def test_it_only_blends_in_what_was_there():
    rng = np.random.default_rng(0)
    queries, gallery = rng.standard_normal((5, 8)), rng.standard_normal((20, 8))
    whole, none, half = (
        reranking.rerank_distances(queries, gallery, 5, 3, share)
        for share in (1.0, 0.0, 0.5)
    )
    np.testing.assert_allclose(half, (whole + none) / 2, atol=1e-3)
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert (none <= 1).all()


def test_re_ranking_helps_where_neighbours_are_shared():
    """Clusters drawn out to arcs: the ends of one are far apart, neighbours are not."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 1.2, 30)[None] + np.array([[0.0], [1.5], [3.0]])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(90, 2)
    features = points + 0.01 * rng.standard_normal((90, 2))
    ids, chosen = np.repeat([0, 1, 2], 30), np.arange(0, 90, 29)
    rest = np.setdiff1d(np.arange(90), chosen)
    sides = (ids[chosen], ids[rest], np.zeros(4, int), np.ones(86, int))
    before = 2 - 2 * features[chosen] @ features[rest].T
    after = reranking.rerank_distances(features[chosen], features[rest], 12, 3, 0.1)
    scores = [
        evaluate_distances(distances, *sides).mean_average_precision
        for distances in (before, after)
    ]
    assert scores[1] > scores[0]


def test_equal_features_are_no_division_by_zero():
    found = reranking.rerank_distances(np.ones((2, 3)), np.ones((4, 3)))
    np.testing.assert_allclose(found, np.zeros((2, 4)), atol=2e-3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k1": 0}, UserError, "k1 and k2 must be positive"),
        ({"k2": 0}, UserError, "k1 and k2 must be positive"),
        ({"lambda_value": 1.1}, UserError, "lambda_value must be within"),
        ({"query_features": np.full((2, 3), np.nan)}, UserError, "NaN or infinity"),
        ({"query_features": np.ones((2, 4))}, ValueError, "got shapes"),
        ({"gallery_features": np.ones(4)}, ValueError, "got shapes"),
    ],
)
def test_bad_input(change, error, message):
    good = {"query_features": np.ones((2, 3)), "gallery_features": np.ones((4, 3))}
    with pytest.raises(error, match=message) as raised:
        reranking.rerank_distances(**{**good, **change})
    assert isinstance(raised.value, UserError) == (error is UserError)
