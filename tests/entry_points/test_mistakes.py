"""A user's mistake is one clear sentence on stderr, exit status 2, no traceback."""

import os
import pathlib
import shutil

import pytest
from helpers import training_runs

CONFIG = ["--config", "configs/vdpa.py"]


def assert_one_sentence(finished, *parts):
    assert finished.returncode == 2, (finished.stdout, finished.stderr)
    assert "Traceback" not in finished.stderr
    errors = [
        line for line in finished.stderr.splitlines() if line.startswith("error:")
    ]
    assert len(errors) == 1, finished.stderr
    for part in parts:
        assert part in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config.model.dpth=3"], ["'model.dpth'", "did you mean 'model.depth'"]),
        (["--config.foo=3"], ["'foo'"]),
        (["--config.batch_size=many"], ["batch_size", "many"]),
        (["--config.epochs=0"], ["epochs or steps must be above 0"]),
        (["--config.optimizer.name=adamm"], ["optimizer.name must be one of"]),
        (["--config.model.num_heads=5"], ["embed_dim must divide by num_heads"]),
        (["--config.model.name=vpda"], ["unknown model 'vpda'", "'vdpa'"]),
        (["--config.data.source=digitz"], ["'digitz'", "'digits'"]),
        (["--config.augmentation.rotation=-3"], ["rotation"]),
        (["--confg.x=1"], ["confg"]),
    ],
    ids=lambda value: value[0].split("=")[0] if value[0].startswith("--") else "",
)
def test_bad_configuration(tmp_path, arguments, parts):
    flags = [*CONFIG, "--workdir", tmp_path / "run", *arguments]
    assert_one_sentence(training_runs.run("train.py", *flags), *parts)
    assert not (tmp_path / "run").exists()


DYNAMIC, IMBALANCED = "configs/dynamic_vit.py", "configs/imbalanced.py"
ROUTING = "configs/routing.py"


@pytest.mark.parametrize(
    ("config", "argument", "parts"),
    [
        (ROUTING, "model.patch_grid=5", ["patch_grid 5 does not divide img_size 64"]),
        (ROUTING, "model.target_ratio=1.5", ["target_ratio must be within [0, 1]"]),
        (ROUTING, "task=classification", ["routing is read by task"]),
        (DYNAMIC, "model.keep_ratio=1.5", ["keep_ratio must be within (0, 1]"]),
        (DYNAMIC, "model.stages=(1,9)", ["stages must be", "within 1..3"]),
        (DYNAMIC, "model.name=vit", ['task "pruning" trains a model with', "not vit"]),
        (DYNAMIC, "distillation.teacher=nowhere", ["nowhere"]),
        (DYNAMIC, "task=classification", ["distillation is read by task"]),
        (IMBALANCED, "imbalance.ratio=100.0", ["0.01"]),
        (IMBALANCED, "imbalance.ratio=0.001", ["class 7", "none of the 125"]),
        (IMBALANCED, "imbalance.profile=longtail", ["imbalance.profile must be"]),
        (IMBALANCED, "imbalance.indices=list.txt", ["leave imbalance.profile"]),
        ("configs/vit.py", "imbalance.indices=no.txt", ["no.txt is no list of"]),
        ("configs/vit.py", "imbalance.validation=left_out", ["neither is set"]),
        ("configs/sdtps.py", "schedule.stepping=epoch", ["schedule.stepping"]),
        (
            IMBALANCED,
            "augmentation.mixupp=0.2",
            ["'augmentation.mixupp'", "'augmentation.mixup'"],
        ),
        (IMBALANCED, "augmentation.mixup=-1.0", ["mixup"]),
    ],
    ids=lambda value: value.partition("=")[0] if isinstance(value, str) else "",
)
def test_bad_pruning_and_imbalance(tmp_path, config, argument, parts):
    flags = ["--config", config, "--workdir", tmp_path / "run", f"--config.{argument}"]
    assert_one_sentence(training_runs.run("train.py", *flags), *parts)


def test_bad_config_file(tmp_path):
    missing = training_runs.run("train.py", "--config", "configs/nothing.py")
    assert_one_sentence(missing, "no file configs/nothing.py")
    variant = training_runs.run("train.py", "--config", "configs/vdpa.py:papr")
    assert_one_sentence(variant, "'papr'", "did you mean 'paper'")
    assert_one_sentence(training_runs.run("train.py"), "config")


def test_missing_datasets(tmp_path):
    flags = ["--workdir", tmp_path / "run"]
    tfds = ["--config", "configs/vdpa.py:cifar10", f"--config.data.data_dir={tmp_path}"]
    finished = training_runs.run("train.py", *tfds, *flags, timeout=30, tensorflow=True)
    assert_one_sentence(finished, "cifar10", "tfds build")
    assert "run `tokenjax data prepare cifar10`" in finished.stderr
    finished = training_runs.run("train.py", *tfds, *flags, own_process=True)
    assert_one_sentence(finished, "pip install tensorflow-datasets")
    folder = ["--config", "configs/vdpa.py:paper"]
    finished = training_runs.run("train.py", *folder, *flags)
    assert_one_sentence(finished, "--config.data.directory=DIRECTORY")


def test_batch_size_that_does_not_divide(tmp_path):
    finished = training_runs.train_small(
        tmp_path / "run",
        "--config.batch_size=12",
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )
    assert_one_sentence(finished, "batch_size 12", "8 devices", "multiple of 8")


@pytest.fixture
def trained(trained_once, tmp_path):
    """A finished run, to be damaged."""
    return shutil.copytree(trained_once, tmp_path / "run")


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A finished run of four steps."""
    workdir = tmp_path_factory.mktemp("mistakes") / "run"
    finished = training_runs.train_small(workdir, "--config.steps=4")
    assert finished.returncode == 0, finished.stderr
    return workdir


def test_another_configuration_in_the_workdir(trained_once):
    second = training_runs.train_small(trained_once, "--config.seed=7")
    assert_one_sentence(second, "another configuration", "seed 0 -> 7", "--workdir")


def test_truncated_checkpoint(trained):
    newest = trained / "checkpoints" / "4"
    largest = max(
        (path for path in newest.rglob("*") if path.is_file()), key=os.path.getsize
    )
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    again = training_runs.train_small(trained, "--config.steps=4")
    assert_one_sentence(again, str(newest), "is damaged", "delete")
    flags = [*CONFIG, "--workdir", trained, *training_runs.SMALL]
    evaluated = training_runs.run("eval.py", *flags)
    assert_one_sentence(evaluated, "is damaged")


def test_eval_without_a_run(tmp_path):
    flags = [*CONFIG, "--workdir", tmp_path / "nothing"]
    assert_one_sentence(training_runs.run("eval.py", *flags), "nothing")


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    flags = ["--config.optimizer.learning_rate=1e30", "--config.schedule.name=constant"]
    flags += ["--config.schedule.warmup_epochs=0.0", "--config.optimizer.name=sgd"]
    finished = training_runs.train_small(tmp_path, *flags)
    assert_one_sentence(finished, "diverged at step", "learning_rate")
    steps = [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
    assert steps == [] or max(map(int, steps)) < 5


def test_unwritable_workdir(tmp_path):
    file = pathlib.Path(tmp_path / "file")
    file.write_text("in the way")
    finished = training_runs.train_small(file / "run")
    assert_one_sentence(finished, "cannot be written")
