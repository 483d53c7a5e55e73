"""Figures of tokens, of classes of unequal size, and of accuracy against cost."""

import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn
from PIL import Image

from tokenjax import plots
from tokenjax.plots import images as plain
from tokenjax.plots import looks, tradeoff

RNG = np.random.default_rng(0)


def pictures(count, channels=3):
    return RNG.random((count, 16, 16, channels))


def masks(stages, count, patches=16):
    return RNG.random((stages, count, patches)) < 0.5


def attention(depth, count, patches=16):
    return RNG.dirichlet(np.ones(patches), (depth, count))


@pytest.mark.parametrize(("stages", "count"), [(1, 1), (5, 3), (12, 10)])
def test_kept_patches(path, stages, count):
    titles = [f"true {index}" for index in range(count)]
    shown = pictures(count, 1)
    drawn = plots.kept_patches(shown, masks(stages, count), path, titles)
    assert_drawn(path, drawn)
    bytes_ = (255 * shown).astype(np.uint8)
    assert_drawn(path, plots.kept_patches(bytes_, np.ones((stages, count, 9)), path))


def test_dropped_patches_are_faded_and_kept_ones_are_not():
    """Also where the pixels of a side do not divide by the patches of a side."""
    image = RNG.random((10, 10, 3)).astype(np.float32)
    kept = np.ones((4, 4), bool)
    kept[0, 3] = False
    faded = plain.faded(image, kept)
    changed = (faded != image).any(axis=-1)
    assert changed[:3, 8:].all()
    changed[:3, 8:] = False
    assert not changed.any()
    assert np.abs(faded[:3, 8:] - plain.DROPPED).max() < 0.16


def test_kept_patches_refuse(path):
    shown = pictures(2)
    for bad in (masks(3, 1), masks(3, 2, 15), np.ones((2, 16)), np.ones((0, 2, 16))):
        with pytest.raises(ValueError, match=r"keep_masks must be \(some, 2, g \* g\)"):
            plots.kept_patches(shown, bad, path)
    with pytest.raises(ValueError, match="0 or 1"):
        plots.kept_patches(shown, np.full((1, 2, 16), 0.5), path)
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        plots.kept_patches(shown, masks(1, 2), path, ["one"])
    assert not path.exists()


LARGE = pytest.param(12, 10, marks=pytest.mark.long)


@pytest.mark.parametrize(("depth", "count"), [(1, 1), (6, 4), LARGE])
def test_class_attention(path, depth, count):
    shown, maps = pictures(count), attention(depth, count)
    assert_drawn(path, plots.class_attention(shown, maps, path))
    left = np.where(masks(depth, count), maps, 0)
    assert_drawn(path, plots.class_attention(shown, left, path))
    assert_drawn(path, plots.class_attention(shown, np.zeros_like(maps), path))


def test_class_attention_refuses(path):
    shown = pictures(2)
    for bad in (attention(3, 1), attention(3, 2, 15), np.ones((2, 16))):
        with pytest.raises(ValueError, match=r"attention must be \(some, 2, g \* g\)"):
            plots.class_attention(shown, bad, path)
    for bad in (-np.ones((1, 2, 16)), np.full((1, 2, 16), np.nan)):
        with pytest.raises(ValueError, match="not negative"):
            plots.class_attention(shown, bad, path)


def test_an_even_selection_has_both_ends():
    assert plain.evenly_chosen(3, 6) == [0, 1, 2]
    assert plain.evenly_chosen(12, 6) == [0, 2, 4, 7, 9, 11]
    assert plain.evenly_chosen(1, 6) == [0]


def test_looks_are_drawn(tmp_path):
    found = {"keep_masks": masks(3, 9), "class_attention": attention(4, 9)}
    drawn = plots.draw_looks(pictures(9), found, tmp_path)
    assert [path.name for path in drawn] == ["class_attention.png", "kept_patches.png"]
    assert all(path.exists() for path in drawn)
    assert looks.SHOWN_IMAGES < 9  # so the rest was left out above
    oblong = {"keep_masks": masks(3, 9, 12), "class_attention": attention(4, 9, 12)}
    assert plots.draw_looks(pictures(9), oblong, tmp_path) == []


@pytest.mark.parametrize("classes", [1, 10, pytest.param(130, marks=pytest.mark.long)])
def test_recall_per_class(path, classes):
    names = [f"class {index}" for index in range(classes)]
    recall, counts = RNG.random(classes), RNG.integers(1, 5000, classes)
    assert_drawn(path, plots.recall_per_class(names, recall, counts, path))
    counts[0] = 0
    assert_drawn(path, plots.recall_per_class(names, recall, counts, path))


def test_recall_of_a_class_without_examples(path, figures):
    drawn = plots.recall_per_class(["a", "b"], [0.5, np.nan], [7, 3], path)
    assert_drawn(path, drawn)
    axes = figures[-1].axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.5]
    assert [text.get_text() for text in axes.texts] == ["50", "no\nimage"]
    (label,) = (text.get_text() for text in axes.get_legend().get_texts())
    assert label.endswith("50.0% (1 of 2 classes have images)")


@pytest.mark.parametrize("classes", [1, 10, pytest.param(1000, marks=pytest.mark.long)])
def test_class_counts(path, figures, classes):
    names = [f"class {index}" for index in range(classes)]
    before = RNG.integers(100, 5000, classes)
    counts = {"in the source": before.tolist(), "trained on": (before // 2).tolist()}
    assert_drawn(path, plots.class_counts(counts, names, path))
    axes = figures[-1].axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [*before, *before // 2]
    assert 1 <= len(axes.get_xticks()) <= 100
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0] == f"in the source: {before.sum():,}"


def test_recall_per_class_refuses(path):
    for recall, counts in (([0.5], [1, 2]), ([0.5, 0.5], [1]), (0.5, [1, 2])):
        with pytest.raises(ValueError, match=r"must be \(2,\) for 2 class names"):
            plots.recall_per_class(["a", "b"], recall, counts, path)
    for recall, counts in (
        ([1.5, 0], [1, 2]),
        ([0, 0], [-1, 2]),
        ([np.nan] * 2, [1, 2]),
    ):
        with pytest.raises(ValueError, match=r"within 0\.\.1"):
            plots.recall_per_class(["a", "b"], recall, counts, path)
    with pytest.raises(ValueError, match="0 class names"):
        plots.recall_per_class([], [], [], path)


def points(count, scale=1.0, ratio=1.3):
    return [
        {
            "name": f"model number {index}",
            "accuracy": scale * (0.8 + 0.01 * index),
            "latency_ms": 10 * ratio**index,
            "latency_std_ms": 5.0,
            "parameters": 1e6 * (index + 1),
        }
        for index in range(count)
    ]


@pytest.mark.parametrize(("count", "ratio"), [(1, 1), (5, 1.0), (5, 1.2), (7, 3)])
def test_accuracy_over_latency(path, count, ratio):
    assert_drawn(path, plots.accuracy_over_latency(points(count, 1.0, ratio), path))
    few = ("name", "accuracy", "latency_ms")
    bare = [{key: point[key] for key in few} for point in points(count, 1.0, ratio)]
    bare[0] |= {"latency_std_ms": None, "parameters": None}
    assert_drawn(path, plots.accuracy_over_latency(bare, path, "latency on a sundial"))


def test_accuracy_over_latency_takes_percent(path):
    plots.accuracy_over_latency(points(3), path)
    percent = path.with_name("percent.png")
    plots.accuracy_over_latency(points(3, 100.0), percent)
    with Image.open(path) as one, Image.open(percent) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_pareto_front():
    latency = np.array([3.0, 1.0, 2.0, 1.0, 4.0, 5.0])
    accuracy = np.array([0.7, 0.6, 0.5, 0.5, 0.7, 0.9])
    assert tradeoff.pareto_front(latency, accuracy).tolist() == [1, 0, 5]


def test_points_that_were_not_measured_are_left_out(path, figures):
    some = points(4)
    some[1] |= {"accuracy": None}
    some[3] |= {"latency_ms": None}
    assert_drawn(path, plots.accuracy_over_latency(some, path))
    (axes,) = figures[-1].axes
    assert axes.get_title() == "Accuracy over latency (2 of 4 not measured)"
    (dots,) = (each for each in axes.collections if len(each.get_offsets()) == 2)
    found = sorted(dots.get_offsets()[:, 0].tolist())
    assert found == pytest.approx(sorted(some[i]["latency_ms"] for i in (0, 2)))


def test_accuracy_over_latency_refuses(path):
    for none in ([], [{**points(1)[0], "accuracy": None}]):
        with pytest.raises(ValueError, match="no points"):
            plots.accuracy_over_latency(none, path)
    (good,) = points(1)
    unnamed = {key: value for key, value in good.items() if key != "name"}
    for bad in (unnamed, {**good, "latency_ms": 0}, {**good, "accuracy": np.nan}):
        with pytest.raises(ValueError, match="a point needs a name"):
            plots.accuracy_over_latency([good, bad], path)
