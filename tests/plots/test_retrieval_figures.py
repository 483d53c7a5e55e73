"""Figures of re-identification: rank lists, CMC curves, features in the plane."""

import matplotlib.colors
import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn
from PIL import Image

from tokenjax import plots
from tokenjax.plots import retrieval

RNG = np.random.default_rng(0)


def grey_pictures(*shape):
    return np.full((*shape, 3), 128, np.uint8)


def share_of(path, colour):
    """The share of pixels that have exactly this colour."""
    wanted = np.round(255 * np.array(matplotlib.colors.to_rgb(colour)))
    with Image.open(path) as image:
        return (np.asarray(image.convert("RGB")) == wanted).all(axis=-1).mean()


def ranked(count, nearest, height=32, width=16):
    """Arguments of `rank_lists` but the path."""
    queries = RNG.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    gallery = RNG.integers(0, 256, (count, nearest, height, width, 3), dtype=np.uint8)
    matches = RNG.random((count, nearest)) < 0.5
    return queries, gallery, matches, np.ones_like(matches)


@pytest.mark.parametrize(
    ("count", "nearest", "height", "width"),
    [(1, 1, 32, 16), (3, 10, 32, 16), (3, 10, 16, 32), (9, 2, 16, 16)],
)
def test_rank_lists(path, count, nearest, height, width):
    given = ranked(count, nearest, height, width)
    captions = [f"identity {index}\ncamera 1" for index in range(count)]
    assert_drawn(path, plots.rank_lists(*given, path, captions))


def test_frames_say_what_is_right_and_nothing_stands_where_a_ranking_has_ended(path):
    queries, gallery = grey_pictures(2, 32, 16), grey_pictures(2, 4, 32, 16)
    every = np.ones((2, 4), bool)
    colours = (retrieval.RIGHT, retrieval.WRONG, "#808080")

    def drawn(matches, valid):
        plots.rank_lists(queries, gallery, matches, valid, path)
        return [share_of(path, colour) for colour in colours]

    all_right, all_wrong = drawn(every, every), drawn(~every, every)
    ended = drawn(every, every & (np.arange(4) < 1))
    legend = 0.004  # which shows both colours always
    assert all_right[0] > 0.02 > legend > all_right[1]
    assert all_wrong[1] > 0.02 > legend > all_wrong[0]
    assert legend < ended[0] < 0.4 * all_right[0]
    assert ended[2] < 0.5 * all_right[2]


def test_rank_lists_refuse(path):
    queries, gallery, matches, valid = ranked(2, 3)
    for bad in (gallery[:1], gallery[0], gallery[:, :0]):
        with pytest.raises(ValueError, match=r"gallery_images must be \(2, k, height"):
            plots.rank_lists(queries, bad, matches, valid, path)
    with pytest.raises(ValueError, match=r"matches must be \(2, 3\)"):
        plots.rank_lists(queries, gallery, matches[:, :2], valid, path)
    with pytest.raises(ValueError, match=r"valid must be \(2, 3\)"):
        plots.rank_lists(queries, gallery, matches, valid[0], path)
    with pytest.raises(ValueError, match="1 captions for 2 queries"):
        plots.rank_lists(queries, gallery, matches, valid, path, ["one"])
    assert not path.exists()


def cmc(first, ranks=50):
    return first + (1 - first) * (1 - np.exp(-np.arange(ranks) / 8))


def test_cmc_curve(path, figures):
    curves = {"direct": cmc(0.83), "fused": cmc(0.86), "concat": cmc(0.88)}
    assert_drawn(path, plots.cmc_curve(curves, path))
    (axes,) = figures[-1].axes
    assert axes.get_xticks().tolist() == [1, 5, 10, 20, 50]
    assert axes.get_ylim()[0] == 80
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0] == "direct: rank-1 83.0 %"
    for line, curve in zip(axes.lines, curves.values(), strict=True):
        assert np.allclose(line.get_xdata(), np.arange(1, 51))
        assert np.allclose(line.get_ydata(), 100 * curve)


def test_cmc_curve_with_chance_begins_at_0(path, figures):
    chance = np.linspace(0.02, 0.11, 10)
    assert_drawn(path, plots.cmc_curve({"direct": cmc(0.8, 10)}, path, chance))
    (axes,) = figures[-1].axes
    assert axes.get_ylim()[0] <= 0
    assert axes.get_xticks().tolist() == [1, 5, 10]
    assert axes.lines[-1].get_ydata() == pytest.approx(100 * chance)
    assert axes.lines[-1].get_xdata().tolist() == list(range(1, 11))
    assert_drawn(path, plots.cmc_curve({"direct": np.ones(1)}, path))


def test_cmc_curve_refuses(path):
    with pytest.raises(ValueError, match="no curves"):
        plots.cmc_curve({}, path)
    for bad in ([0.5, 0.4], [0.5, 1.5], [np.nan], [], [[0.5]]):
        with pytest.raises(ValueError, match=r"fused must be \(ranks,\) within 0\.\.1"):
            plots.cmc_curve({"direct": cmc(0.5), "fused": np.array(bad)}, path)
    with pytest.raises(ValueError, match="chance"):
        plots.cmc_curve({"direct": cmc(0.5)}, path, np.array([2.0]))


def test_retrieval_curves_are_over_epochs(path, figures):
    rows = [
        {"step": 10, "validation/mAP_direct": 0.2, "validation/rank1_direct": 0.3},
        {"step": 30, "validation/mAP_direct": 0.5, "validation/rank1_direct": 0.6},
        {"step": 20, "validation/mAP_direct": 0.4, "validation/rank1_direct": 0.7},
        {"step": 30, "train/loss": 1.0},
        {"step": 40, "validation/mAP_fused": None},
    ]
    drawn = plots.retrieval_curves(rows, ("direct", "fused"), 20.0, path)
    assert_drawn(path, drawn)
    first, second = figures[-1].axes
    assert (first.get_title(), second.get_title()) == ("mAP", "Rank-1")
    (line,) = first.lines
    assert line.get_xdata().tolist() == [0.5, 1.0, 1.5]
    assert line.get_ydata().tolist() == [0.2, 0.4, 0.5]
    assert line.get_label() == "direct (best 50.0% at 1.5)"
    assert second.lines[0].get_label() == "direct (best 70.0% at 1)"


def test_retrieval_curves_of_one_evaluation_and_of_none(path, figures):
    rows = [{"step": 8, "validation/mAP_fused": 0.0}]
    assert_drawn(path, plots.retrieval_curves(rows, ("fused",), 40.0, path))
    (axes,) = figures[-1].axes
    assert axes.lines[0].get_marker() == "o"
    low, high = axes.get_xlim()
    assert low == 0
    assert 0.2 < high < 0.25
    with pytest.raises(ValueError, match="no evaluation to draw"):
        plots.retrieval_curves([{"step": 8}], ("fused",), 40.0, path)


def clusters(identities, cameras, count):
    """Features, identities and cameras of `count` images."""
    identity = np.arange(count) % identities
    camera = RNG.integers(0, cameras, count)
    features = 20 * np.eye(identities, 24)[identity] + RNG.normal(size=(count, 24))
    return features, identity + 100, camera


def test_feature_map_tells_identities_apart(path, figures):
    features, identities, cameras = clusters(4, 2, 48)
    assert_drawn(path, plots.feature_map(features, identities, cameras, path))
    lines = figures[-1].axes[0].lines
    assert len({line.get_marker() for line in lines}) == 2
    points = {}
    for line in lines:
        points.setdefault(line.get_markerfacecolor(), []).append(line.get_xydata())
    groups = [np.concatenate(of) for of in points.values()]
    assert [len(group) for group in groups] == [12] * 4
    centres = np.stack([group.mean(axis=0) for group in groups])
    for index, group in enumerate(groups):
        distances = np.linalg.norm(group[:, None] - centres, axis=-1)
        assert (distances.argmin(axis=1) == index).all()


def test_feature_map_draws_some_identities_always_the_same(path):
    given = clusters(20, 14, 80)
    plots.feature_map(*given, path, max_identities=10, seed=3)
    first = path.read_bytes()
    path.unlink()
    assert_drawn(path, plots.feature_map(*given, path, max_identities=10, seed=3))
    assert path.read_bytes() == first


def test_feature_map_draws_some_hundreds_of_points_at_most(path, figures, monkeypatch):
    monkeypatch.setattr(retrieval, "MOST_POINTS", 30)
    plots.feature_map(*clusters(3, 2, 90), path)
    lines = figures[-1].axes[0].lines
    assert sum(len(line.get_xdata()) for line in lines) == 30
    plots.feature_map(*clusters(2, 1, 4), path)  # the fewest there may be


def test_feature_map_of_features_that_are_all_alike(path):
    """As a model gives that has collapsed; scikit-learn's own start would crash."""
    identities, cameras = np.arange(12) % 3, np.zeros(12, int)
    assert_drawn(path, plots.feature_map(np.ones((12, 8)), identities, cameras, path))


def test_feature_map_refuses(path):
    features, identities, cameras = clusters(3, 2, 12)
    for bad in (features[0], features[:, :1], np.full_like(features, np.nan)):
        with pytest.raises(ValueError, match="features must be"):
            plots.feature_map(bad, identities, cameras, path)
    with pytest.raises(ValueError, match=r"identities must be \(12,\)"):
        plots.feature_map(features, identities[:3], cameras, path)
    with pytest.raises(ValueError, match=r"cameras must be \(12,\)"):
        plots.feature_map(features, identities, cameras[:3], path)
    with pytest.raises(ValueError, match=r"within 1\.\.16"):
        plots.feature_map(features, identities, cameras, path, max_identities=17)
    with pytest.raises(ValueError, match="4 points or more, got 3"):
        plots.feature_map(features[:3], identities[:3], cameras[:3], path)
    assert not path.exists()
