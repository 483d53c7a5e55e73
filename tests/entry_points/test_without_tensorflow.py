"""Models, bench.py and training work where TensorFlow cannot be imported."""

import subprocess
import sys

from helpers import training_runs

HIDDEN = {"HIDDEN_PACKAGES": "tensorflow tensorflow_datasets torch"}
MODELS = """
import sys
import tokenjax, tokenjax.convert, tokenjax.data, tokenjax.training.loop
from tokenjax import models
for name in models.names():
    models.create(name)
try:
    import tensorflow
except ModuleNotFoundError:
    print("hidden")
assert not any(m.split(".")[0] == "tensorflow" for m in sys.modules)
print("imported", models.names())
"""


def test_models_import():
    finished = subprocess.run(
        [sys.executable, "-c", MODELS],
        capture_output=True,
        text=True,
        cwd=training_runs.REPOSITORY,
        env=training_runs.environment(**HIDDEN),
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    assert "hidden" in finished.stdout
    assert "'vdpa'" in finished.stdout


def test_bench():
    small = "img_size=16,patch_size=8,embed_dim=16,depth=1,num_heads=2"
    finished = training_runs.run(
        *["bench.py", "--model", "vdpa", "--set", small], **HIDDEN
    )
    assert finished.returncode == 0, finished.stderr
    assert "vdpa" in finished.stdout


def test_training(tmp_path):
    flags = ["--config", "configs/vdpa.py", "--workdir", tmp_path / "run"]
    flags += [*training_runs.SMALL, "--config.steps=2"]
    finished = training_runs.run("train.py", *flags, **HIDDEN)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "run" / "evaluation.json").exists()
