"""configs/vdpa.py:paper, the recorded 512-pixel model, takes a training step."""

import json

import numpy as np
from helpers import training_runs
from PIL import Image


def test_one_step(tmp_path):
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
        *["--config.steps=1", "--config.batch_size=1", "--config.model.remat=True"],
        "--config.figures=False",
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert rows[0]["step"] == 1
    assert np.isfinite(rows[0]["train/loss"])
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["model"]["stk"] == "recorded"
    evaluation = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert len(evaluation["model"]["alpha"]) == 10
