"""Latency over FLOPs: every model drawn and named; what cannot be drawn refused."""

import pytest
from PIL import Image

from tokenjax import plots
from tokenjax.plots import cost

POINTS = [
    {"name": "small", "gflops": 1.2, "latency_ms": 10.0, "parameters": 5e6},
    {"name": "large", "gflops": 35.0, "latency_ms": 180.0, "parameters": 86e6},
    {"name": "slow", "gflops": 4.0, "latency_ms": 150.0, "parameters": 30e6},
]


@pytest.fixture
def texts(monkeypatch):
    """What is written into the figure."""
    found = []
    save = cost.files.save

    def keep(figure, path):
        found.extend(text.get_text() for text in figure.axes[0].texts)
        return save(figure, path)

    monkeypatch.setattr(cost.files, "save", keep)
    return found


def test_names_sizes_and_rates(path, texts):
    assert plots.latency_over_flops(POINTS, path, "ms") == path
    assert Image.open(path).width > 600
    assert {"small\n5 M", "large\n86 M", "slow\n30 M"} <= set(texts)
    assert {"26.7 GFLOP/s", "194 GFLOP/s"} <= set(texts)  # 4 / 0.15 and 35 / 0.18


def test_a_model_with_its_arguments_is_named_in_lines(path, texts):
    name = "vdpa(embed_dim=512,depth=10,num_heads=8)"
    plots.latency_over_flops([*POINTS, POINTS[0] | {"name": name}], path)
    assert "vdpa(embed_dim=512,depth=10,\nnum_heads=8)\n5 M" in texts
    assert cost.files.in_lines("a" * 30, 28) == "a" * 27 + "…"
    assert cost.files.in_lines("vit,,base", 28) == "vit,,base"


def test_a_single_model(path, texts):
    plots.latency_over_flops(POINTS[:1], path)
    assert texts.count("120 GFLOP/s") == 1


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["gflops", "latency_ms", "parameters"])
def test_what_cannot_be_drawn(path, key, wrong):
    with pytest.raises(ValueError, match="above 0"):
        plots.latency_over_flops([*POINTS, POINTS[0] | {key: wrong}], path)
    with pytest.raises(ValueError, match="no points"):
        plots.latency_over_flops([], path)
    assert not path.exists()
