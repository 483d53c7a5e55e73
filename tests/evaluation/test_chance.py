"""What a random ranking reaches: every order there is, by the evaluation itself."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.errors import UserError
from tokenjax.evaluation import retrieval
from tokenjax.evaluation.chance import chance_by_rank, chance_of_retrieval

GALLERY = 5
ORDERS = np.array(list(itertools.permutations(range(GALLERY))), np.float64)  # (120, 5)


def sides(values, queries):
    return np.array(values[:queries]), np.array(values[queries:])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_mean_over_all_orders(data):
    queries = data.draw(st.integers(1, 3))
    few = st.lists(
        st.integers(-1, 2), min_size=queries + GALLERY, max_size=queries + GALLERY
    )
    ids, groups = sides(data.draw(few), queries), sides(data.draw(few), queries)
    given_sides = [ids[0], ids[1], groups[0], groups[1]]
    kept = (ids[1] == ids[0][:, None]) & (groups[1] != groups[0][:, None])
    kept &= ids[1] != -1  # junk
    if not kept.any():
        with pytest.raises(UserError, match="no query has a match in the gallery"):
            chance_of_retrieval(*given_sides)
        return
    found = chance_of_retrieval(*given_sides)
    repeated = [np.repeat(side, len(ORDERS)) for side in (ids[0], groups[0])]
    every = retrieval.evaluate_distances(
        np.tile(ORDERS, (queries, 1)), repeated[0], ids[1], repeated[1], groups[1]
    )
    assert set(found) == {"rank1", "mAP"}
    assert found["rank1"] == pytest.approx(every.cmc[0], rel=1e-9)
    assert found["mAP"] == pytest.approx(every.mean_average_precision, rel=1e-9)
    by_rank = chance_by_rank(*given_sides, len(every.cmc))
    np.testing.assert_allclose(by_rank, every.cmc, rtol=1e-9)


def test_chance_by_rank():
    """Two matches among four: 1 - 2/4, then 1 - (2/4)(1/3), then certain."""
    query, gallery, groups = [1], [1, 2, 1, 3], [1, 1, 1, 1]
    found = chance_by_rank(query, gallery, [0], groups, 6)
    np.testing.assert_allclose(found, [1 / 2, 5 / 6, 1, 1, 1, 1])
    both = chance_by_rank([1, 3, 9], gallery, [0, 0, 0], groups, 2)  # 9 has no match
    np.testing.assert_allclose(both, [(1 / 2 + 1 / 4) / 2, (5 / 6 + 2 / 4) / 2])
    with pytest.raises(UserError, match="no query has a match"):
        chance_by_rank([9], gallery, [0], groups, 2)


def test_a_gallery_too_large_for_all_orders():
    """Ten matches among a hundred, drawn many times."""
    generator = np.random.default_rng(0)
    matches = np.arange(100) < 10
    orders = generator.permuted(np.tile(matches, (4000, 1)), axis=1)
    ranks = np.arange(1, 101)
    precision = (orders * orders.cumsum(1) / ranks).sum(1) / 10
    none, one = np.zeros(100, int), np.ones(1, int)
    found = chance_of_retrieval(one, np.where(matches, 1, 2), one, none)
    assert found["rank1"] == pytest.approx(0.1)
    error = precision.std() / 4000**0.5
    assert abs(found["mAP"] - precision.mean()) < 4 * error
    assert error < 0.002


def test_what_is_left_out_is_no_match_and_takes_no_place():
    """Of query 1 one match of two is kept, among two; query 9 has none."""
    found = chance_of_retrieval(
        np.array([1, 9]), np.array([1, 1, 2]), np.array([0, 0]), np.array([0, 1, 0])
    )
    assert found == {"rank1": 0.5, "mAP": 0.75}


def test_all_matches_are_found_whatever_the_order():
    gallery, groups = np.ones(4, int), np.arange(1, 5)
    found = chance_of_retrieval(gallery[:1], gallery, np.zeros(1, int), groups)
    assert found == {"rank1": 1.0, "mAP": 1.0}


def test_junk_takes_no_place_and_lists_will_do():
    found = chance_of_retrieval([1, -1], [1, -1, 2, -1], [0, 0], [1, 1, 1, 0])
    assert found == {"rank1": 0.5, "mAP": 0.75}
