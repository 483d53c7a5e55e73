"""configs/vdpa.py:paper, the recorded 512-pixel model or less, takes a step."""

import json

import numpy as np
import pytest
from helpers import training_runs
from PIL import Image

SMALL = [
    "--config.data.image_size=48",
    "--config.model.embed_dim=16",
    "--config.model.depth=2",
    "--config.model.num_heads=2",
]


@pytest.mark.parametrize(
    ("arguments", "depth"),
    [
        pytest.param(SMALL, 2, id="small"),
        pytest.param(
            ["--config.model.remat=True"], 10, marks=pytest.mark.long, id="real"
        ),
    ],
)
def test_one_step(tmp_path, arguments, depth):
    draws = np.random.default_rng(0)
    for label in ("calm", "wild"):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        for index in range(10):
            pixels = draws.integers(0, 256, (40, 60, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    finished = training_runs.run(
        "train.py",
        *["--config", "configs/vdpa.py:paper", "--workdir", tmp_path / "run"],
        f"--config.data.directory={tmp_path / 'images'}",
        *["--config.steps=1", "--config.batch_size=1", "--config.figures=False"],
        *arguments,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert rows[0]["step"] == 1
    assert np.isfinite(rows[0]["train/loss"])
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["model"]["stk"] == "recorded"
    evaluation = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert len(evaluation["model"]["alpha"]) == depth
