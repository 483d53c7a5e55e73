"""Accuracy over time: which lines there are, hollow, filled and grey."""

import pytest
from helpers.drawn_figures import assert_drawn

from tokenjax import plots
from tokenjax.plots import figure_files


def point(name, accuracy, time, line="ToMe", tuned=False, rival=False, size=1):
    return {
        "name": name,
        "accuracy": accuracy,
        "time": time,
        "line": line,
        "tuned": tuned,
        "rival": rival,
        "batch_size": size,
        "spread": 0.004,
        "time_low": 0.98 * time,
        "time_high": 1.05 * time,
    }


def some(size=1):
    return [
        point("whole", 0.88, 1.0, "fewer blocks", rival=True, size=size),
        point("half", 0.84, 0.5, "fewer blocks", rival=True, size=size),
        point("strong", 0.80, 0.5, size=size),
        point("light", 0.87, 0.8, size=size),
        point("strong, tuned", 0.86, 0.5, tuned=True, size=size),
        point("EViT", 0.85, 0.6, "EViT", size=size),
    ]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_panel_for_each_batch_size(path, figures):
    drawn = [*some(1), *some(64)]
    assert_drawn(path, plots.accuracy_over_time(drawn, path, "49 tokens", "8 blocks"))
    titles = [axes.get_title() for axes in figures[0].axes]
    assert titles == [
        "1 image, off the shelf",
        "64 images, off the shelf",
        "1 image, fine-tuned",
        "64 images, fine-tuned",
    ]
    assert figures[0].axes[1].get_xlabel() == "time / 8 blocks"
    assert figures[0].axes[0].get_ylabel() == "test accuracy (%)"
    for panel in figures[0].axes:  # all show the same span, and every point in it
        assert panel.get_xlim() == figures[0].axes[0].get_xlim()
        low, high = panel.get_ylim()
        assert low < 80 < 88 < high
    kinds = ["off the shelf", "fine-tuned"]
    assert legend(figures[0]) == ["fewer blocks", "ToMe", "EViT", *kinds]


def test_lines_join_what_belongs_together(path, figures):
    plots.accuracy_over_time(some(), path)
    joined = {}
    for container in (c for panel in figures[0].axes for c in panel.containers):
        line = container.lines[0]
        hollow = line.get_markerfacecolor() == "white"
        joined[line.get_color(), hollow] = line.get_xdata().tolist()
    assert joined == {
        (figure_files.GREY, True): [0.5, 1.0],
        (figure_files.BLUE, True): [0.5, 0.8],
        (figure_files.BLUE, False): [0.5],
        (figure_files.VERMILION, True): [0.6],
    }


def test_what_is_far_below_is_counted_and_left_out(path, figures):
    plots.accuracy_over_time([*some(), point("gone", 0.1, 0.3)], path)
    panel = figures[0].axes[0]
    assert [text.get_text() for text in panel.texts] == ["1 left out, below 76"]
    plots.accuracy_over_time(some(), path)
    assert not figures[1].axes[0].texts
    assert legend(figures[1])[-2:] == ["off the shelf", "fine-tuned"]


def test_one_seed_and_no_title(path, figures):
    alone = {k: v for k, v in some()[2].items() if k not in ("spread", "time_low")}
    label = "test accuracy, difference (points)"
    assert_drawn(path, plots.accuracy_over_time([alone], path, label=label))
    assert figures[0].axes[0].get_ylabel() == label
    assert legend(figures[0]) == ["ToMe", "off the shelf"]


@pytest.mark.parametrize(
    "wrong", [{"time": 0.0}, {"accuracy": float("nan")}, {"time": float("inf")}]
)
def test_bad_points(path, wrong):
    with pytest.raises(ValueError, match="finite and the time above 0"):
        plots.accuracy_over_time([some()[0] | wrong], path)
    with pytest.raises(ValueError, match="no points"):
        plots.accuracy_over_time([], path)
    with pytest.raises(ValueError, match="a point needs batch_size, line"):
        plots.accuracy_over_time([{"accuracy": 0.5, "time": 1.0}], path)
