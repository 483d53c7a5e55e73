"""Every figure is a readable PNG with something on it; bad arrays are refused."""

import sys

import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn
from PIL import Image

from tokenjax import plots
from tokenjax.plots import figure_files, images, training

RNG = np.random.default_rng(0)
NAMES = ["cat", "dog", "a bird with a very long name"]


def history():
    rows = []
    for step in range(10, 410, 10):
        train = {"loss": 1 / step, "accuracy": step / 500, "learning_rate": 1e-3}
        rows.append({"step": step, **{f"train/{k}": v for k, v in train.items()}})
        if step % 100 == 0:
            values = {"validation/loss": 2 / step, "validation/top1": step / 600}
            rows.append({"step": step, **values})
    return rows


def test_training_curves(path):
    assert_drawn(path, plots.training_curves(history(), path))


def test_training_curves_of_what_there_is(path):
    rows = [{"step": 1, "train/loss": 1.0}, {"step": 2, "train/loss": float("nan")}]
    assert_drawn(path, plots.training_curves(rows, path))
    wide = plots.training_curves(history(), path.with_name("all.png"))
    with Image.open(path) as one, Image.open(wide) as three:
        assert one.width * 2 < three.width


def test_no_panel_of_a_short_run_is_empty(path, figures):
    """One row of the log: a line of one point is seen by its marker alone."""
    rows = [{"step": 8, **{f"train/{key}": 0.5 for key in ("loss", "learning_rate")}}]
    rows.append({"step": 8, "validation/top1": 0.25})
    assert_drawn(path, plots.training_curves(rows, path))
    rows = [{"step": 8, "train/threshold": 0.4, "train/target_ratio": 0.5}]
    rows[0]["train/routing_ratio"] = 0.5
    plots.routing_curves(rows, path)
    for axes in [axes for figure in figures for axes in figure.axes]:
        assert axes.lines
        assert axes.get_xlim() == (0, 1.04 * 8)
        assert all(tick == int(tick) for tick in axes.get_xticks())
        for line in axes.lines:
            faint = line.get_label().startswith("_child")  # below the smoothed one
            if not faint or len(axes.lines) == 1:
                assert line.get_marker() == "o"


def test_training_curves_of_nothing(path):
    for rows in ([], [{"step": 1, "train/images_per_second": 9.0}]):
        with pytest.raises(ValueError, match="nothing to draw"):
            plots.training_curves(rows, path)
    assert not path.exists()


def test_smoothing_keeps_constants_and_averages():
    np.testing.assert_allclose(training.smooth(np.full(50, 3.0), 7), 3.0)
    assert training.smooth(np.arange(9.0), 3)[4] == pytest.approx(4)
    noise = RNG.normal(size=500)
    assert training.smooth(noise, 25).std() < noise.std() / 3
    assert training.smooth(noise[:2], 0).tolist() == noise[:2].tolist()


@pytest.mark.parametrize("classes", [2, 20, 130])
def test_confusion_matrix(path, classes):
    matrix = RNG.integers(0, 50, (classes, classes)) + np.eye(classes, dtype=int) * 400
    matrix[0] = 0  # a class without examples
    names = [f"class {index}" for index in range(classes)]
    assert_drawn(path, plots.confusion_matrix(matrix, names, path))


def test_a_class_without_an_image_is_grey_and_no_share(path, figures):
    matrix = np.array([[5, 1, 0], [0, 0, 0], [0, 2, 8]])
    assert_drawn(path, plots.confusion_matrix(matrix, NAMES, path))
    axes = figures[-1].axes[0]
    assert axes.get_title().endswith("81.2% of 16 right\ngrey: 1 without an image")
    shares = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert np.isnan(shares[1]).all()
    np.testing.assert_allclose(shares[0], [5 / 6, 1 / 6, 0])


def test_confusion_matrix_refuses(path):
    for matrix in (np.ones((3, 2)), np.ones((2, 2)), -np.ones((3, 3)), np.ones(3)):
        with pytest.raises(ValueError, match=r"must be \(3, 3\) counts"):
            plots.confusion_matrix(matrix, NAMES, path)


@pytest.mark.parametrize("count", [1, 11])
def test_predictions(path, count):
    pictures = RNG.integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)
    labels, predicted = RNG.integers(0, 3, (2, count))
    chances = RNG.random(count)
    drawn = plots.predictions(pictures, labels, predicted, NAMES, path, chances)
    assert_drawn(path, drawn)


def test_predictions_mark_the_wrong_ones(path):
    pictures, labels = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])

    def marked(predicted):
        plots.predictions(pictures, labels, np.array(predicted), NAMES, path)
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=int)
        vermilion = [int(figure_files.VERMILION[i : i + 2], 16) for i in (1, 3, 5)]
        return int((np.abs(pixels - vermilion).max(axis=-1) < 10).sum())

    assert marked([0, 1]) == 0
    assert marked([0, 2]) > 500


def test_predictions_refuse(path):
    pictures, labels = np.zeros((2, 8, 8, 3)), np.array([0, 1])
    with pytest.raises(ValueError, match="labels must be"):
        plots.predictions(pictures, labels[:1], labels, NAMES, path)
    with pytest.raises(ValueError, match="probabilities must be"):
        plots.predictions(pictures, labels, labels, NAMES, path, np.ones(3))
    with pytest.raises(ValueError, match=r"within 0\.\.2"):
        plots.predictions(pictures, labels, labels + 2, NAMES, path)
    with pytest.raises(ValueError, match="height, width, 1 or 3"):
        plots.predictions(pictures[..., :2], labels, labels, NAMES, path)


def test_images_for_display():
    grey = images.displayable(np.full((1, 2, 2, 1), 255, np.uint8))
    assert grey.shape == (1, 2, 2, 3)
    assert grey.max() == grey.min() == 1
    assert images.displayable(np.full((1, 2, 2, 3), 7.0)).max() == 1
    np.testing.assert_allclose(images.greyscale(grey), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="uint8 or floats"):
        images.displayable(np.zeros((1, 2, 2, 3), np.int32))


@pytest.mark.parametrize("depth", [1, 30])
def test_vdpa_distributions(path, figures, depth):
    alpha = RNG.uniform(0.31, 0.89, (depth, 200))
    assert_drawn(path, plots.alpha_per_block(alpha, path))
    assert_drawn(path, plots.alpha_per_block(np.full((depth, 1), 0.6), path))
    assert_drawn(path, plots.effective_keys(1 + 60 * alpha, 64, path))
    assert_drawn(path, plots.effective_keys(1 + 5 * alpha, 1024, path))
    assert figures[-1].axes[0].get_title().startswith("Reach of attention, ")
    plots.effective_keys(1 + 5 * alpha, 1024, path, "local attention")
    assert figures[-1].axes[0].get_title().startswith("Reach of local attention, ")


def test_vdpa_distributions_refuse(path):
    for bad in (np.ones(3), np.ones((3, 0)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="alpha must be"):
            plots.alpha_per_block(bad, path)
        with pytest.raises(ValueError, match="keys must be"):
            plots.effective_keys(bad, 64, path)
    with pytest.raises(ValueError, match="above 0"):
        plots.effective_keys(np.zeros((2, 2)), 64, path)


@pytest.mark.parametrize("channels", [1, 3])
def test_pooling_weights(path, channels):
    pictures = RNG.random((2, 24, 24, channels))
    weights = RNG.dirichlet(np.ones(9), (2, 16))
    shares = RNG.dirichlet(np.ones(16), 2).reshape(2, 4, 4)
    assert_drawn(path, plots.pooling_weights(pictures, weights, shares, path))
    even = np.full((2, 16, 9), 1 / 9), np.full((2, 4, 4), 1 / 16)
    assert_drawn(path, plots.pooling_weights(pictures, *even, path))
    certain = np.zeros((2, 16, 9)), np.zeros((2, 4, 4))
    certain[0][..., 4], certain[1][:, 1, 1] = 1, 1
    assert_drawn(path, plots.pooling_weights(pictures, *certain, path))


def test_pooling_weights_refuse(path):
    pictures, weights, shares = np.ones((2, 8, 8, 3)), np.ones((2, 16, 9)), np.ones(())
    with pytest.raises(ValueError, match="weight_map must be"):
        plots.pooling_weights(pictures, weights, np.ones((2, 4, 5)), path)
    with pytest.raises(ValueError, match="weight_map must be"):
        plots.pooling_weights(pictures, weights, shares, path)
    with pytest.raises(ValueError, match="weights must be"):
        plots.pooling_weights(pictures, weights, np.ones((2, 5, 5)), path)


def bars(datasets, variants, scale=1.0):
    return [
        {"variant": f"v{v}", "dataset": f"d{d}", "mean": scale * (0.7 + v / 50)}
        | ({"std": 0.01 * scale} if v else {"std": None})
        for d in range(datasets)
        for v in range(variants)
    ]


@pytest.mark.parametrize(("datasets", "variants"), [(1, 1), (2, 3), (4, 10)])
def test_accuracy_bars(path, datasets, variants):
    assert_drawn(path, plots.accuracy_bars(bars(datasets, variants), path))


def test_accuracy_bars_take_percent(path):
    plots.accuracy_bars(bars(1, 3), path)
    percent = plots.accuracy_bars(bars(1, 3, 100.0), path.with_name("percent.png"))
    with Image.open(path) as one, Image.open(percent) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_accuracy_bars_say_what_was_not_measured(path, figures):
    rows = [{**row, "mean": None} for row in bars(2, 3)]
    rows[0] |= {"mean": 0.5, "std": 0.01}  # of the first data set; nothing of the other
    assert_drawn(path, plots.accuracy_bars(rows, path))
    first, second = figures[-1].axes[:2]
    assert [len(axes.patches) for axes in (first, second)] == [1, 0]
    for axes, number in ((first, 2), (second, 3)):
        said = [text.get_text() for text in axes.texts]
        assert said.count("not measured") == number
        assert len(axes.get_yticklabels()) == 3


def test_accuracy_bars_refuse(path):
    for rows in ([], [{**bars(1, 1)[0], "mean": None}]):
        with pytest.raises(ValueError, match="no rows"):
            plots.accuracy_bars(rows, path)
    for row in ({"variant": "v", "dataset": "d"}, {**bars(1, 1)[0], "mean": np.nan}):
        with pytest.raises(ValueError, match="a row needs"):
            plots.accuracy_bars([row], path)


def test_saving_is_whole_or_nothing(path, monkeypatch):
    figure, _ = figure_files.new_figure(3, 3)
    with pytest.raises(ValueError, match=r"as \.png"):
        figure_files.save(figure, path.with_suffix(".pdf"))
    figure_files.save(figure, path)
    before = path.read_bytes()

    def fail(temporary, **_):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figure_files.save(figure, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_no_pyplot(path):
    """Its global state is neither used nor, where nobody else did, imported."""
    sys.modules.pop("matplotlib.pyplot", None)
    plots.training_curves(history(), path)
    assert "matplotlib.pyplot" not in sys.modules
