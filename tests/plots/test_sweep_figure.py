"""The figure of a sweep: what was measured, the trained value marked."""

import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn
from PIL import Image

from tokenjax import plots
from tokenjax.plots import figure_files


def points(values, trained, **measured):
    return [
        {"value": value, "trained": value == trained}
        | {key: found[index] for key, found in measured.items()}
        for index, value in enumerate(values)
    ]


def routed(count=5):
    values = np.linspace(0.1, 0.9, count).tolist()
    falling = np.linspace(0.9, 0.1, count).tolist()
    return points(
        values,
        values[1],
        accuracy=falling,
        routing_ratio=falling,
        mflops=[10 * each for each in falling],
        latency_ms=[2.0] * count,
        latency_low_ms=[1.0] * count,
        latency_high_ms=[3.0] * count,
    )


def stars(path):
    """How many pixels are of the colour of the trained value."""
    wanted = [int(figure_files.VERMILION[i : i + 2], 16) for i in (1, 3, 5)]
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    return int((np.abs(pixels - wanted).max(axis=-1) < 10).sum())


def test_four_panels_with_the_trained_value(path):
    assert_drawn(path, plots.sweep_panels(routed(), path, "threshold", "ms for 64"))
    marked = stars(path)
    unmarked = [{**point, "trained": False} for point in routed()]
    plots.sweep_panels(unmarked, path, "threshold")
    assert marked > stars(path) == 0


def test_what_nobody_measured_has_no_panel(path):
    whole = plots.sweep_panels(routed(), path.with_name("whole.png"), "threshold")
    without = [{**point, "routing_ratio": None} for point in routed()]
    three = plots.sweep_panels(without, path, "keep_ratio")
    with Image.open(whole) as four, Image.open(three) as row:
        assert row.width * 2 == four.width * 3
        assert row.height * 2 == four.height


@pytest.mark.parametrize("values", [("gathered", "masked"), (True, False), (3,)])
def test_names_and_a_single_value(path, values):
    found = points(values, values[0], accuracy=[0.5] * len(values))
    assert_drawn(path, plots.sweep_panels(found, path, "execution"))


def test_what_cannot_be_drawn_is_refused(path):
    for nothing in ([], points((1, 2), 1), points((1,), 1, accuracy=[None])):
        with pytest.raises(ValueError, match="nothing to draw"):
            plots.sweep_panels(nothing, path, "threshold")
    endless = points((1.0, np.inf), 1.0, accuracy=[0.1, 0.2])
    with pytest.raises(ValueError, match="values must be finite"):
        plots.sweep_panels(endless, path, "threshold")
    assert not path.exists()
