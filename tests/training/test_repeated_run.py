"""A run that is repeated writes the same metrics; what it took stands elsewhere."""

import json

import pytest
from ml_collections import ConfigDict

from tokenjax import experiment
from tokenjax.training import default_config


def config():
    found = default_config()
    sizes = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    found.model = ConfigDict({"name": "vit", "dropout": 0.1, **sizes})
    found.data = ConfigDict({"source": "digits", "image_size": 16})
    found.batch_size, found.steps, found.log_every_steps = 32, 6, 2
    found.evaluate_every_epochs, found.figures = 0.08, False
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    summaries = {
        name: experiment.train(config(), root / name) for name in ("first", "second")
    }
    return root, summaries


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_are_repeated_exactly(runs):
    root, summaries = runs
    first, second = (root / name / "metrics.jsonl" for name in summaries)
    assert first.read_bytes() == second.read_bytes()
    logged = rows(first)
    assert {row["step"] for row in logged} >= {2, 4, 6}
    assert any("validation/top1" in row for row in logged)
    assert summaries["first"] == summaries["second"]


def test_the_speed_is_told_of_the_machine(runs):
    root, _ = runs
    assert not any(
        "second" in key for row in rows(root / "first/metrics.jsonl") for key in row
    )
    speeds = [
        row
        for row in rows(root / "first/performance.jsonl")
        if "speed/images_per_second" in row
    ]
    assert len(speeds) >= 2
    for row in speeds:
        per_step = row["speed/images_per_second"] * row["time/per_step"]
        assert per_step == pytest.approx(32)


def test_the_headline_is_the_tasks(runs):
    _, summaries = runs
    (line,) = experiment.headline(config(), summaries["first"])
    assert line.startswith("test: top-1 ")
    assert "images" in line
