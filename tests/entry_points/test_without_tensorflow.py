"""Models, bench.py and training work where TensorFlow cannot be imported."""

import json
import subprocess
import sys

import pytest
from helpers import training_runs

HIDDEN = {"HIDDEN_PACKAGES": "tensorflow tensorflow_datasets torch"}
# In one process, whose imports take seconds: the models, then the programs.
PROGRAM = """
import json, runpy, sys
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
for command in json.loads(sys.argv[1]):
    print("next:", command[0], flush=True)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """What the three say, and the run's directory."""
    workdir = tmp_path_factory.mktemp("hidden") / "run"
    small = "img_size=16,patch_size=8,embed_dim=16,depth=1,num_heads=2"
    bench = ["bench.py", "--model", "vdpa", "--set", small, "--repeats=2"]
    train = ["train.py", "--config", "configs/vdpa.py", "--workdir", str(workdir)]
    train += [*training_runs.SMALL, "--config.steps=2"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([bench, train])],
        capture_output=True,
        text=True,
        cwd=training_runs.REPOSITORY,
        env=training_runs.environment(**HIDDEN),
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return *done.stdout.split("next: "), workdir


def test_models_import(finished):
    imported, _, _, _ = finished
    assert "hidden" in imported
    assert "'vdpa'" in imported


def test_bench(finished):
    _, measured, _, _ = finished
    assert measured.startswith("bench.py\n")
    assert "vdpa" in measured


def test_training(finished):
    _, _, trained, workdir = finished
    assert trained.startswith("train.py\n")
    assert (workdir / "evaluation.json").exists()
