"""Models, bench.py and training work where TensorFlow cannot be imported."""

import subprocess
import sys

import training_runs

BLOCK = '''
import sys

class Hide:
    """An import finder that does not see some packages."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "torch"):
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hide(finder) for finder in sys.meta_path]
'''
MODELS = """
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
SCRIPT = """
import runpy
sys.argv = {argv!r}
runpy.run_path({script!r}, run_name="__main__")
"""


def blocked(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        capture_output=True,
        text=True,
        cwd=training_runs.REPOSITORY,
        env=training_runs.environment(),
        timeout=120,
    )


def script(name: str, *arguments: str) -> str:
    path = str(training_runs.REPOSITORY / name)
    return SCRIPT.format(argv=[name, *arguments], script=path)


def test_models_import():
    finished = blocked(MODELS)
    assert finished.returncode == 0, finished.stderr
    assert "hidden" in finished.stdout
    assert "'vdpa'" in finished.stdout


def test_bench():
    small = "img_size=16,patch_size=8,embed_dim=16,depth=1,num_heads=2"
    finished = blocked(script("bench.py", "--model", "vdpa", "--set", small))
    assert finished.returncode == 0, finished.stderr
    assert "vdpa" in finished.stdout


def test_training(tmp_path):
    flags = ["--config", "configs/vdpa.py", "--workdir", str(tmp_path / "run")]
    flags += [*training_runs.SMALL, "--config.steps=2"]
    finished = blocked(script("train.py", *flags))
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "run" / "evaluation.json").exists()
