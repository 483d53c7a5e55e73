"""Figures of what is selected by modality, and of training variants side by side."""

import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn

from tokenjax import plots
from tokenjax.plots import modalities
from tokenjax.plots.images import DROPPED
from tokenjax.plots.variant_curves import MANY_POINTS

RNG = np.random.default_rng(0)
NAMES = ("rgb", "nir", "tir")
GRID = (4, 2)


def images(count, height=32, width=16, names=NAMES):
    size = (count, height, width, 3)
    return {name: RNG.integers(0, 256, size, dtype=np.uint8) for name in names}


def masks(count, patches=8, names=NAMES):
    return {name: RNG.integers(0, 2, (count, patches)) for name in names}


def scores(count, patches=8, names=NAMES):
    return {name: RNG.random((count, patches)) for name in names}


def weights(count, tokens, names=NAMES):
    """With the first patch dropped."""
    kept = {name: RNG.dirichlet(np.ones(7), (count, tokens)) for name in names}
    return {name: np.pad(of, ((0, 0), (0, 0), (1, 0))) for name, of in kept.items()}


def shown(axes):
    """The topmost image of the axes."""
    return np.asarray(axes.images[-1].get_array())


@pytest.mark.parametrize(("count", "names"), [(1, ("rgb",)), (3, NAMES), (9, NAMES)])
def test_kept_by_modality(path, figures, count, names):
    given, kept = images(count, names=names), masks(count, names=names)
    assert_drawn(path, plots.kept_by_modality(given, kept, GRID, path))
    drawn = min(count, modalities.MOST_SAMPLES)
    assert len(figures[-1].axes) == 2 * len(names) * drawn
    titles = [axes.get_title() for axes in figures[-1].axes[: 2 * len(names)]]
    for index, name in enumerate(names):
        share = f"{100 * kept[name][:drawn].mean():.0f} % kept"
        assert titles[2 * index : 2 * index + 2] == [name, share]


@pytest.mark.parametrize(
    ("height", "width", "grid"), [(32, 16, GRID), (16, 48, (2, 6))]
)
def test_dropped_patches_of_oblong_grids_are_faded(path, figures, height, width, grid):
    given = images(1, height, width, ("rgb",))
    mask = RNG.integers(0, 2, grid)
    plots.kept_by_modality(given, {"rgb": mask.reshape(1, -1)}, grid, path)
    plain, marked = (shown(axes) for axes in figures[-1].axes)
    kept = mask.repeat(8, axis=0).repeat(8, axis=1).astype(bool)  # a patch is 8 x 8
    assert np.array_equal(marked[kept], plain[kept])
    assert np.abs(marked[~kept] - DROPPED).max() < 0.16


def test_selection_scores(path, figures):
    for count in (1, 9):
        given = scores(count)
        assert_drawn(path, plots.selection_scores(images(count), given, GRID, path))
    *panels, bar = figures[-1].axes
    assert len(panels) == 6 * modalities.MOST_SAMPLES
    assert np.allclose(shown(panels[3]), given["nir"][0].reshape(GRID))
    drawn = np.stack([of[: modalities.MOST_SAMPLES] for of in given.values()])
    assert np.allclose(bar.get_ylim(), (drawn.min(), drawn.max()))
    alike = {name: np.ones((1, 8)) for name in NAMES}
    assert_drawn(path, plots.selection_scores(images(1), alike, GRID, path))


@pytest.mark.parametrize(("count", "tokens", "asked"), [(1, 1, 6), (5, 9, 4)])
def test_aggregation_weights(path, figures, count, tokens, asked):
    given = weights(count, tokens)
    plots.aggregation_weights(images(count), given, GRID, path, asked)
    assert_drawn(path, path)
    *panels, _ = figures[-1].axes
    samples, columns = min(count, modalities.MOST_AGGREGATED), min(tokens, asked)
    assert len(panels) == samples * len(NAMES) * (1 + columns)
    second_row = panels[1 + columns : 2 * (1 + columns)]
    assert second_row[0].get_ylabel() == "nir"
    strongest = int(given["nir"][0].max(axis=1).argmax())
    assert second_row[1].get_title() == f"token {strongest}"
    heat = second_row[1].images[-1].get_array()
    assert np.allclose(heat.filled(0), given["nir"][0, strongest].reshape(GRID))
    assert heat.mask[0, 0]  # dropped: no heat there
    assert not heat.mask[1:].any()


def test_figures_of_modalities_refuse(path):
    for draw, maps in (
        (plots.kept_by_modality, masks),
        (plots.selection_scores, scores),
        (plots.aggregation_weights, lambda count, patches=8: weights(count, patches)),
    ):
        given = images(2)
        with pytest.raises(ValueError, match="of rgb must be"):
            draw(given, maps(3), GRID, path)
        with pytest.raises(ValueError, match="of rgb must be"):
            draw(given, maps(2), (3, 2), path)
        with pytest.raises(ValueError, match="are of"):
            draw(images(2, names=("rgb",)), maps(2), GRID, path)
        with pytest.raises(ValueError, match="as many images"):
            draw(given | {"tir": given["tir"][:1]}, maps(2), GRID, path)
        with pytest.raises(ValueError, match="as many images"):
            draw({}, {}, GRID, path)
    with pytest.raises(ValueError, match="0 or 1"):
        plots.kept_by_modality(given, scores(2), GRID, path)
    with pytest.raises(ValueError, match="must be finite"):
        plots.selection_scores(
            given, scores(2) | {"tir": np.full((2, 8), np.nan)}, GRID, path
        )
    negative = {name: -of for name, of in weights(2, 3).items()}
    with pytest.raises(ValueError, match="not be negative"):
        plots.aggregation_weights(given, negative, GRID, path)
    with pytest.raises(ValueError, match="1 or more"):
        plots.aggregation_weights(given, weights(2, 3), GRID, path, 0)
    assert not path.exists()


def run(points, level=1.0):
    steps = np.arange(points) * 10
    return steps, level + np.exp(-steps / 100) + 0.05 * RNG.random(points)


@pytest.mark.parametrize(
    ("variants", "seeds", "points"), [(1, 1, 1), (2, 3, 40), (16, 2, 300)]
)
def test_loss_curves(path, figures, variants, seeds, points):
    runs = {
        f"variant {i}": [run(points) for _ in range(seeds)] for i in range(variants)
    }
    for log_y in (False, True):
        drawn = plots.loss_curves(runs, path, "loss", "Training loss", log_y)
        assert_drawn(path, drawn)
    axes = figures[-1].axes[0]
    assert axes.get_yscale() == "log"
    assert len(axes.lines) == variants
    looks = {(line.get_color(), line.is_dashed()) for line in axes.lines}
    assert len(looks) == variants
    (legend,) = figures[-1].legends
    assert len(legend.get_texts()) == variants
    assert legend.get_window_extent().x0 > axes.get_window_extent().x1
    said = axes.texts[0].get_text()
    assert ("smoothed" in said) == (points > MANY_POINTS)
    assert ("bands" in said) == (seeds > 1)


def test_a_line_is_the_mean_of_its_seeds_in_the_band_they_span(path, figures):
    runs = {"one": [([0, 10, 20], [3.0, 2.0, 1.0]), ([0, 20], [5.0, 3.0])]}
    plots.loss_curves(runs, path, "loss")
    axes = figures[-1].axes[0]
    assert np.allclose(axes.lines[0].get_xydata(), [[0, 4], [10, 3], [20, 2]])
    band = axes.collections[0].get_paths()[0].vertices
    for corner in ([0, 3], [0, 5], [10, 2], [10, 4], [20, 1], [20, 3]):
        assert np.isclose(band, corner).all(axis=1).any()


def test_a_run_that_diverges_is_marked(path, figures):
    diverging = ([0, 10, 20], [1.0, 3.0, np.nan])
    runs = {"one": [([0, 10, 20], [1.0, 1.0, 1.0]), diverging]}
    plots.loss_curves(runs, path, "loss")
    axes = figures[-1].axes[0]
    mean, cross = axes.lines
    assert np.allclose(mean.get_ydata(), [1, 2, 1])
    assert cross.get_xydata().tolist() == [[10, 3]]
    assert "ended early" in axes.texts[0].get_text()


def test_loss_curves_refuse(path):
    for runs in ({}, {f"{index}": [run(3)] for index in range(17)}):
        with pytest.raises(ValueError, match=r"1\.\.16 variants"):
            plots.loss_curves(runs, path, "loss")
    for runs in ([], [([], [])], [([0, 1], [np.nan, np.inf])]):
        with pytest.raises(ValueError, match="one has nothing to draw"):
            plots.loss_curves({"one": runs}, path, "loss")
    with pytest.raises(ValueError, match="one has nothing to draw"):
        plots.loss_curves({"one": [([0, 1], [0, -1])]}, path, "loss", log_y=True)
    with pytest.raises(ValueError, match="steps must rise"):
        plots.loss_curves({"one": [([1, 1], [0.5, 0.5])]}, path, "loss")
    with pytest.raises(ValueError, match=r"must both be \(n,\)"):
        plots.loss_curves({"one": [([0, 1], [0.5])]}, path, "loss")
    assert not path.exists()


def test_gradient_norms(path, figures):
    norms = {
        "all": {"backbone": 8.8e3, "sdtps": 1e8, "heads": 1.0},
        "none": {"backbone": 2e-5, "heads": 1.0},
    }
    assert_drawn(path, plots.gradient_norms(norms, path))
    axes = figures[-1].axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < 2e-5
    assert axes.get_xlim()[1] > 1e8
    drawn = np.concatenate([line.get_xdata() for line in axes.lines])
    assert sorted(drawn) == [2e-5, 1, 1, 8.8e3, 1e8]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["all", "none"]
    (legend,) = figures[-1].legends
    parts = [text.get_text() for text in legend.get_texts()]
    assert parts == ["backbone", "sdtps", "heads"]


def test_gradients_that_vanish_or_overflow_are_drawn_at_the_ends(path, figures):
    norms = {"one": {"a": 0.0, "b": 1.0}, "other": {"a": np.inf, "b": np.nan}}
    assert_drawn(path, plots.gradient_norms(norms, path))
    axes = figures[-1].axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    places = np.concatenate([line.get_xdata() for line in hollow])
    low, high = axes.get_xlim()
    assert len(places) == 3
    assert ((places > low) & (places < high) & (places != 1)).all()
    assert sorted(places < 1) == [False, False, True]
    (legend,) = figures[-1].legends
    said = " ".join(text.get_text() for text in legend.get_texts())
    assert "0" in said
    assert "not finite" in said
    assert_drawn(path, plots.gradient_norms({"one": {"a": 0.0}}, path))


def test_ticks_of_gradient_norms_stand_where_there_are_numbers(path, figures):
    """Not in the strips of what is 0 or not finite, and not on one another."""
    wide = {"one": {"a": 1e-9, "b": 0.0, "c": 1e10}, "two": {"a": np.inf}}
    for norms, expected in (
        ({"one": {"a": 0.1, "b": 0.0}}, ["0.05", "0.1", "0.2"]),
        (wide, [f"$10^{{{power}}}$" for power in range(-9, 10, 3)]),
    ):
        plots.gradient_norms(norms, path)
        axes = figures[-1].axes[0]
        assert [text.get_text() for text in axes.get_xticklabels()] == expected


def test_gradient_norms_refuse(path):
    for norms in ({}, {"one": {}}, {"one": {f"{part}": 1.0 for part in range(9)}}):
        with pytest.raises(ValueError, match=r"1\.\.8 parts"):
            plots.gradient_norms(norms, path)
    with pytest.raises(ValueError, match="not be negative"):
        plots.gradient_norms({"one": {"a": -1.0}}, path)
    assert not path.exists()
