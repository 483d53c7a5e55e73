"""Figures of what a router scores and sends where, and of accuracy against FLOPs."""

import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn
from PIL import Image

from tokenjax import plots
from tokenjax.plots import figure_files, image_panels, routing

RNG = np.random.default_rng(0)


def pictures(count, channels=3):
    return RNG.random((count, 16, 16, channels))


def scores(count, patches=16):
    return RNG.random((count, patches))


def boxes(count):
    return np.tile([2.0, 3.0, 12.0, 14.0], (count, 1))


def pixels_of(path, colour):
    """How many pixels are of a colour #RRGGBB."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=-1) < 10).sum())


@pytest.mark.parametrize("count", [1, 10])
def test_attention_scores(path, count):
    shown, maps = pictures(count, 1), scores(count)
    assert_drawn(path, plots.attention_scores(shown, maps, path))
    assert pixels_of(path, figure_files.VERMILION) == 0
    bytes_ = (255 * shown).astype(np.uint8)
    assert_drawn(path, plots.attention_scores(bytes_, maps, path, boxes(count)))
    assert pixels_of(path, figure_files.VERMILION) > 100
    assert_drawn(path, plots.attention_scores(shown, np.full_like(maps, 1), path))


def test_colours_span_the_data():
    norm = routing._norm_of(np.array([0.25, 0.5, 0.3]))
    assert (norm.vmin, norm.vmax) == (0.25, 0.5)
    alike = routing._norm_of(np.full(3, 0.5))
    assert alike.vmin < 0.5 < alike.vmax


@pytest.mark.parametrize("count", [1, 3, 20])
def test_routed_patches(path, count):
    shown, masks = pictures(count), scores(count, 64) < 0.3
    titles = [f"true {index}" for index in range(count)]
    drawn = plots.routed_patches(shown, masks, path, boxes(count), titles)
    assert_drawn(path, drawn)
    assert_drawn(path, plots.routed_patches(shown, masks.astype(np.float32), path))


def test_routed_patches_take_soft_masks(path):
    shown, soft = pictures(2), np.array([[0.5, 0.49, 1, 0], [0.1, 0.9, 0.6, 0.2]])
    plots.routed_patches(shown, soft, path)
    hard = plots.routed_patches(shown, soft >= 0.5, path.with_name("hard.png"))
    with Image.open(path) as one, Image.open(hard) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_the_outline_is_around_groups_of_patches():
    """Patches side by side have no line between them."""
    _, grid = figure_files.new_figure(2, 2)
    chosen = np.zeros((4, 4), bool)
    chosen[1, 1:3] = True
    image_panels.outline_patches(grid[0, 0], pictures(1)[0], chosen, "#000000")
    ends = np.concatenate([lines.get_segments() for lines in grid[0, 0].collections])
    assert ends.shape == (6, 2, 2)  # 2 above, 2 below, one at each side
    np.testing.assert_array_equal(ends.min(axis=(0, 1)), [3.5, 3.5])
    np.testing.assert_array_equal(ends.max(axis=(0, 1)), [11.5, 7.5])


@pytest.mark.parametrize(("count", "patches"), [(1, 9), (6, 64), (2, 196)])
def test_patch_scores(path, count, patches):
    shown, maps = pictures(count), scores(count, patches)
    drawn = plots.patch_scores(shown, maps, maps >= 0.5, 0.5, path)
    assert_drawn(path, drawn)
    low = maps / patches
    assert_drawn(path, plots.patch_scores(shown, low, maps >= 0.5, 3.0, path))


def test_routing_figures_refuse(path):
    shown, good = pictures(2), scores(2)
    for draw, kind in (
        (plots.attention_scores, "scores"),
        (plots.routed_patches, "masks"),
    ):
        for bad in (scores(1), scores(2, 15), good[None], np.ones((2, 0))):
            with pytest.raises(ValueError, match=rf"{kind} must be \(2, g \* g\)"):
                draw(shown, bad, path)
        for bad in (good - 1, good + 1, np.full_like(good, np.nan)):
            with pytest.raises(ValueError, match=rf"{kind} must be within 0\.\.1"):
                draw(shown, bad, path)
        for bad in (boxes(1), boxes(2)[:, :3], boxes(2) * np.nan):
            with pytest.raises(ValueError, match=r"boxes must be \(2, 4\)"):
                draw(shown, good, path, bad)
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        plots.routed_patches(shown, good, path, titles=["one"])
    with pytest.raises(ValueError, match="the same grid"):
        plots.patch_scores(shown, good, scores(2, 9), 0.5, path)
    with pytest.raises(ValueError, match="threshold must be finite"):
        plots.patch_scores(shown, good, good, np.inf, path)
    assert not path.exists()


def history():
    rows = []
    for step in range(10, 410, 10):
        train = {
            "routing_ratio": 0.25 + 3 / step,
            "target_ratio": 0.25,
            "threshold": 0.4,
            "score_mean": step / 1000,
            "score_std": 0.1,
            "none_selected": 0.0,
            "all_selected": 1 / step,
        }
        rows.append({"step": step, **{f"train/{k}": v for k, v in train.items()}})
        if step % 100 == 0:
            values = {"routing_ratio": 0.3, "target_recall": step / 500}
            rows.append(
                {"step": step, **{f"validation/{k}": v for k, v in values.items()}}
            )
    return rows


def test_routing_curves(path):
    assert_drawn(path, plots.routing_curves(history(), path))
    assert_drawn(path, plots.routing_curves(history(), path, target=0.25))


@pytest.mark.parametrize(
    "key",
    [
        "train/routing_ratio",
        "validation/routing_ratio",
        "train/threshold",
        "train/score_mean",
        "train/none_selected",
        "validation/target_recall",
    ],
)
def test_routing_curves_of_what_there_is(path, key):
    rows = [{"step": 1, key: 0.0}, {"step": 2, key: float("nan")}]
    assert_drawn(path, plots.routing_curves(rows, path, target=0.5))
    whole = plots.routing_curves(history(), path.with_name("all.png"))
    with Image.open(path) as one, Image.open(whole) as four:
        assert one.width * 2 == four.width
        assert one.height * 2 == four.height


@pytest.mark.parametrize(("budget", "lines"), [(0.0, 0), (0.3, 2)])
def test_a_target_that_nobody_asks_for_is_not_drawn(path, figures, budget, lines):
    """That of a baseline, or of a run without a budget."""
    rows = [row | {"train/budget": budget} for row in history()]
    plots.routing_curves(rows, path, target=0.25)
    texts = figures[-1].axes[0].get_legend().get_texts()
    assert sum("target" in text.get_text() for text in texts) == lines


def test_the_spread_of_scores_is_seen_in_a_run_of_one_row(path, figures):
    row = {"step": 8, "train/score_mean": 0.5, "train/score_std": 0.1}
    plots.routing_curves([row], path)
    (axes,) = figures[-1].axes
    (bar,) = [each for each in axes.collections if len(each.get_segments())]
    np.testing.assert_allclose(bar.get_segments()[0], [[8, 0.4], [8, 0.6]])


def test_routing_curves_of_nothing(path):
    for rows in ([], [{"step": 1, "train/target_ratio": 0.5, "train/loss": 1.0}]):
        with pytest.raises(ValueError, match="nothing to draw"):
            plots.routing_curves(rows, path, target=0.5)
    with pytest.raises(ValueError, match="target must be finite"):
        plots.routing_curves(history(), path, target=np.nan)
    assert not path.exists()


def points(count, key="mflops"):
    return [
        {
            "name": f"model number {index}",
            "accuracy": 0.8 + 0.01 * index,
            key: 10 * 1.3**index,
            "parameters": 1e6 * (index + 1),
        }
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [1, 6, 12])  # 12: numbered, with a list
def test_accuracy_over_flops(path, count):
    assert_drawn(path, plots.accuracy_over_flops(points(count), path))
    bare = [{**point, "parameters": None} for point in points(count)]
    assert_drawn(path, plots.accuracy_over_flops(bare, path, "MFLOPs of a batch"))


def test_accuracy_over_flops_refuses(path):
    with pytest.raises(ValueError, match="no points"):
        plots.accuracy_over_flops([], path)
    with pytest.raises(ValueError, match=r"a point needs a name.* mflops above 0"):
        plots.accuracy_over_flops(points(1, "latency_ms"), path)


def looks(count, patches=16):
    return {
        "attention_scores": scores(count, patches),
        "mask": scores(count, patches) < 0.5,
        "threshold": np.full(count, 0.5),
        "box": boxes(count),
    }


def names(paths):
    assert all(path.exists() for path in paths)
    return {path.name for path in paths}


def test_looks_of_a_router_are_drawn(tmp_path):
    found = looks(5)
    every = {"attention_scores.png", "routed_patches.png", "patch_scores.png"}
    assert names(plots.draw_looks(pictures(5), found, tmp_path)) == every
    del found["box"]
    assert names(plots.draw_looks(pictures(5), found, tmp_path)) == every
    endless = {**found, "threshold": np.full(5, np.inf)}
    drawn = names(plots.draw_looks(pictures(5), endless, tmp_path))
    assert drawn == every - {"patch_scores.png"}
    same = {**found, "attention_scores": np.full((5, 16), 1 / 16)}
    drawn = names(plots.draw_looks(pictures(5), same, tmp_path))
    assert drawn == {"routed_patches.png"}
    assert plots.draw_looks(pictures(5), looks(5, 12), tmp_path) == []
