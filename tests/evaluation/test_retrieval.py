"""Retrieval metrics: recorded ones, a plain loop, ties, absent identities, mistakes."""

import json

import jax
import numpy as np
import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.benchmark import retrieval as benchmark
from tokenjax.errors import UserError
from tokenjax.evaluation import retrieval, retrieval_blocks

GROUPS = {"reid/eval_camera": "input/camids", "reid/eval_scene": "input/sceneids"}


def halves(values, queries=20):
    return values[:queries], values[queries:]


def recorded(case, groups):
    pairs = (halves(case[key]) for key in ("input/pids", groups))
    return [half for pair in pairs for half in pair]


def plain(distances, query_ids, gallery_ids, query_groups, gallery_groups):
    """Per query: ranks from 1 of its matches, and the indices kept in their order."""
    found = []
    for row, identity, group in zip(distances, query_ids, query_groups, strict=True):
        order = sorted(range(len(row)), key=lambda index: (row[index], index))
        kept = [
            index
            for index in order
            if gallery_ids[index] != -1  # junk
            and (gallery_ids[index] != identity or gallery_groups[index] != group)
        ]
        ranks = [r for r, index in enumerate(kept, 1) if gallery_ids[index] == identity]
        found.append((ranks, kept))
    return found


def assert_same(found, expected, sides, max_rank):
    """Holds a Retrieval to the ranks of `plain`."""
    junk = int((np.asarray(sides[1]) == -1).sum())
    last = min(max_rank, len(sides[1]) - junk)
    valid = [ranks for ranks, _ in expected if ranks]
    precisions = [
        np.mean([i / r for i, r in enumerate(ranks, 1)]) if ranks else np.nan
        for ranks, _ in expected
    ]
    curve = [np.mean([r[0] <= k for r in valid]) for k in range(1, last + 1)]
    assert (found.num_valid, found.num_queries) == (len(valid), len(expected))
    assert found.num_junk == junk
    np.testing.assert_allclose(found.average_precision, precisions, rtol=1e-12)
    np.testing.assert_allclose(found.cmc, curve, rtol=1e-12)
    assert found.mean_average_precision == pytest.approx(np.nanmean(precisions))
    assert found.mean_inverse_negative_penalty == pytest.approx(
        np.mean([len(ranks) / ranks[-1] for ranks in valid])
    )


@pytest.mark.parametrize(("name", "groups"), GROUPS.items())
def test_recorded(golden, assert_close, name, groups):
    case = golden(name)
    sides, features = recorded(case, groups), halves(case["input/features"])
    for max_rank, suffix in ((50, ""), (10, "_short")):
        for found in (
            retrieval.evaluate_retrieval(*features, *sides, max_rank=max_rank),
            retrieval.evaluate_distances(
                case["output/distmat"], *sides, max_rank=max_rank
            ),
        ):
            assert_close(found.cmc, case[f"output/cmc{suffix}"], 1e-6)
            expected = case[f"output/mAP{suffix}"]
            assert_close(found.mean_average_precision, expected, 1e-12)
            assert found.num_valid == case.meta["valid_queries"]
            assert_same(found, plain(case["output/distmat"], *sides), sides, max_rank)


def test_recorded_distances(golden, assert_close):
    case = golden("reid/eval_camera")
    (queries, _), (gallery, finite) = (
        retrieval_blocks.normalize(side, length=length)
        for side, length in zip(halves(case["input/features"]), (20, 128), strict=True)
    )
    block = retrieval_blocks.distances(queries, gallery, np.arange(20))
    assert_close(block[:, :90], case["output/distmat"], 1e-6)
    assert finite
    assert np.isposinf(block[:, 90:]).all()


@st.composite
def problems(draw):
    """Exactly representable unit vectors, of which there are few: many ties."""
    queries, gallery = draw(st.sampled_from([(5, 30), (17, 7), (30, 140)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    identities, groups = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    lengths = rng.choice([0.5, 1.0, 4.0], (queries + gallery, 1))
    signs = rng.choice([-1.0, 1.0], (queries + gallery, draw(st.sampled_from([4, 16]))))
    # Identities from 3 * identities on, negative ones too, are the queries' alone.
    ids = rng.integers(-1, identities, queries + gallery) * 3
    ids[:queries:3] += rng.integers(0, 2) * 3 * identities
    junk = rng.random(queries + gallery) < draw(st.sampled_from([0, 0.2, 0.9]))
    ids[junk] = -1
    cameras = rng.integers(0, groups, queries + gallery) - 1
    return signs * lengths, ids, cameras, queries


@settings(max_examples=40, deadline=None)
@given(problems(), st.sampled_from([1, 10, 50]))
def test_against_a_plain_loop_with_ties(problem, max_rank):
    features, ids, cameras, queries = problem
    sides = (*halves(ids, queries), *halves(cameras, queries))
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    first, second = halves(units, queries)
    distances = 2 - 2 * first @ second.T  # exact: multiples of 1/8
    expected = plain(distances, *sides)
    arguments = (*halves(features, queries), *sides)
    if not any(ranks for ranks, _ in expected):
        with pytest.raises(UserError, match=f"none of the {queries} queries"):
            retrieval.evaluate_retrieval(*arguments)
        return
    for size in (1, 8, 24, 64):
        found = retrieval.evaluate_retrieval(
            *arguments, max_rank=max_rank, block_rows=size
        )
        assert_same(found, expected, sides, max_rank)
    found = retrieval.evaluate_distances(distances, *sides, max_rank=max_rank)
    assert_same(found, expected, sides, max_rank)
    assert_lists(*retrieval.rank_lists(*arguments, count=9), expected, sides)


def assert_lists(indices, matches, expected, sides):
    query_ids, gallery_ids = sides[:2]
    assert (indices.dtype, matches.dtype) == (np.int64, bool)
    for row, match, (_, kept), identity in zip(
        indices, matches, expected, query_ids, strict=True
    ):
        wanted = (kept + [-1] * 9)[:9]
        np.testing.assert_array_equal(row, wanted)
        hits = [index >= 0 and gallery_ids[index] == identity for index in wanted]
        np.testing.assert_array_equal(match, hits)


@pytest.mark.parametrize("dim", [3, 33, 100])
def test_equal_features_tie_whatever_the_block(dim):
    """Rounded lengths and products; every gallery vector stands there many times."""
    rng = np.random.default_rng(dim)
    queries = rng.standard_normal((30, dim))
    gallery = rng.standard_normal((9, dim))[np.arange(150) % 9]
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery)]
    distances = (-units[0] @ units[1][:9].T)[:, np.arange(150) % 9]
    sides = [rng.integers(0, top, n) for top in (8, 4) for n in (30, 150)]
    for size in (8, 16, 64):
        found = retrieval.evaluate_retrieval(queries, gallery, *sides, block_rows=size)
        assert_same(found, plain(distances, *sides), sides, 50)
    lists = retrieval.rank_lists(queries, gallery, *sides, count=9)
    assert_lists(*lists, plain(distances, *sides), sides)


def test_many_matches_are_ranked_by_sorting(monkeypatch):
    rng = np.random.default_rng(0)
    block = rng.integers(0, 40, (5, 300)).astype(np.float32)
    columns = np.stack([rng.permutation(300)[:16] for _ in range(5)]).astype(np.int32)
    counted = jax.device_get(retrieval_blocks.ranks(block, columns))
    monkeypatch.setattr(retrieval_blocks, "COUNT_UP_TO", 8)
    sort = jax.jit(lambda *each: retrieval_blocks.ranks.__wrapped__(*each))
    np.testing.assert_array_equal(jax.device_get(sort(block, columns)), counted)
    order = np.argsort(block, axis=1, kind="stable")
    places = np.take_along_axis(order, counted - 1, axis=1)
    np.testing.assert_array_equal(places, columns)


def test_a_summary_by_hand():
    # Two queries of identity 7; its images in the gallery rank 1 and 3, then 2 and 3.
    distances = [[0.1, 0.3, 0.2, 0.0], [0.3, 0.2, 0.1, 0.0], [0.5, 0.6, 0.7, 0.8]]
    found = retrieval.evaluate_distances(
        distances, [7, 7, 5], [7, 7, 1, 7], [0, 0, 0], [1, 2, 0, 0], max_rank=5
    )
    summary = found.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary == {
        "mAP": pytest.approx(((1 + 2 / 3) / 2 + (1 / 2 + 2 / 3) / 2) / 2),
        "mINP": pytest.approx(2 / 3),
        "rank1": 0.5,
        "rank5": None,  # of four there is no fifth
        "rank10": None,
        "cmc": [0.5, 1.0, 1.0, 1.0],  # three entries kept, then the last value
        "queries": 3,
        "valid_queries": 2,
        "junk": 0,
    }
    assert np.isnan(found.average_precision[2])


def test_junk_and_distractors_by_hand():
    """By distance: junk, a distractor, a match, junk of the query's camera, another."""
    about = ([7], [-1, 0, 7, -1, 7], [0], [1, 1, 1, 0, 2])
    found = retrieval.evaluate_distances([[0.1, 0.2, 0.3, 0.4, 0.5]], *about)
    assert found.mean_average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.mean_inverse_negative_penalty == pytest.approx(2 / 3)
    np.testing.assert_array_equal(found.cmc, [0, 1, 1])  # three are no junk
    assert found.summary()["junk"] == 2
    angles = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    same = retrieval.evaluate_retrieval(features[:1], features[1:], *about)
    np.testing.assert_array_equal(same.average_precision, found.average_precision)
    indices, matches = retrieval.rank_lists(features[:1], features[1:], *about, 5)
    assert indices.tolist() == [[1, 2, 4, -1, -1]]
    assert matches.tolist() == [[False, True, True, False, False]]


def test_a_query_of_identity_minus_1_does_not_count():
    distances, groups = np.ones((2, 3)), ([0, 0], [1, 1, 1])
    found = retrieval.evaluate_distances(distances, [-1, 4], [-1, 4, 4], *groups)
    assert (found.num_valid, found.num_queries) == (1, 2)
    assert found.mean_average_precision == 1.0
    with pytest.raises(UserError, match=r"1 queries .* 0 gallery images"):
        retrieval.evaluate_distances([[1.0]], [-1], [-1], [0], [1])


def test_the_scale_of_features_does_not_matter():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 8)).astype(np.float32)
    sides = [rng.integers(0, top, n) for top in (6, 3) for n in (20, 40)]
    scales = 2.0 ** rng.integers(-9, 9, (60, 1))
    found = [
        retrieval.evaluate_retrieval(*halves(each), *sides)
        for each in (features, features * scales, jax.device_put(features))
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(
            found[0].average_precision, other.average_precision
        )


def test_progress_counts_every_query():
    rng = np.random.default_rng(1)
    sides = [rng.integers(0, top, n) for top in (12, 2) for n in (30, 20)]
    steps = []
    retrieval.evaluate_retrieval(
        *halves(rng.random((50, 4)), 30), *sides, block_rows=8, progress=steps.append
    )
    assert sum(steps) == 30
    assert len(steps) > 2


GOOD = {
    "query_features": np.ones((2, 3)),
    "gallery_features": np.ones((4, 3)),
    "query_ids": np.array([0, 1]),
    "gallery_ids": np.array([0, 1, 1, 2]),
    "query_groups": np.array([0, 0]),
    "gallery_groups": np.array([1, 1, 0, 0]),
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query_features": np.full((2, 3), np.nan)}, UserError, "query features hold"),
        ({"gallery_features": np.full((4, 3), np.inf)}, UserError, "gallery features"),
        ({"query_ids": np.array([7, 8])}, UserError, "none of the 2 queries"),
        ({"gallery_groups": np.zeros(4, int)}, UserError, "none of the 2 queries"),
        ({"query_features": np.ones((3, 3))}, ValueError, r"must be \(2, d\)"),
        ({"gallery_features": np.ones((4, 2))}, ValueError, "3 values.*2"),
        ({"query_groups": np.zeros(3, int)}, ValueError, "query_groups must be one"),
        ({"gallery_ids": np.ones((4, 1), int)}, ValueError, "gallery_ids must be one"),
        ({"query_ids": np.zeros(2)}, ValueError, "query_ids must be integers"),
        ({"max_rank": 0}, ValueError, "max_rank must be positive"),
        ({"block_rows": 0}, ValueError, "block_rows must be positive"),
    ],
)
def test_bad_input(change, error, message):
    retrieval.evaluate_retrieval(**GOOD)
    with pytest.raises(error, match=message) as raised:
        retrieval.evaluate_retrieval(**{**GOOD, **change})
    assert isinstance(raised.value, UserError) == (error is UserError)


def test_bad_distances():
    sides = list(GOOD.values())[2:]
    with pytest.raises(ValueError, match=r"must be \(2, 4\), got shape \(4, 2\)"):
        retrieval.evaluate_distances(np.ones((4, 2)), *sides)
    with pytest.raises(UserError, match="NaN or infinity"):
        retrieval.evaluate_distances(np.full((2, 4), np.nan), *sides)


def test_rank_lists_need_no_match():
    arguments = {**GOOD, "query_ids": np.array([7, 8])}
    indices, matches = retrieval.rank_lists(**arguments, count=6)
    np.testing.assert_array_equal(indices, [[0, 1, 2, 3, -1, -1]] * 2)
    assert not matches.any()
    with pytest.raises(ValueError, match="count must be positive"):
        retrieval.rank_lists(**arguments, count=0)


def run_benchmark(*arguments):
    values = flags.FlagValues()
    benchmark.define_flags(values)
    values(["retrieval", *arguments])
    benchmark.main(["retrieval"], values)


def test_the_benchmark_checks_itself(capsys, monkeypatch):
    arguments = ["--queries=40", "--gallery=200", "--dim=16", "--noise=1", "--check"]
    run_benchmark(*arguments)
    printed = capsys.readouterr().out
    for part in ("40 queries x 200", "peak resident memory", "mAP", "16 queries in"):
        assert part in printed
    with pytest.raises(UserError, match="--per_identity"):
        run_benchmark("--gallery=4")
    monkeypatch.setattr(benchmark, "plain_precision", lambda queries, _: queries.ids)
    with pytest.raises(RuntimeError, match="largest difference"):
        run_benchmark(*arguments)
