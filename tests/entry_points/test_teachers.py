"""A teacher that is given is the run's network: its settings, images and classes."""

import pytest
from helpers.training_runs import train_small

from tokenjax.training.checkpoints import load_weights

CONFIG = "configs/dynamic_vit.py"
SIZES = ("--config.model.depth=2", "--config.model.stages=(1,)", "--config.steps=2")
UNPRUNED = (
    "--config.task=classification",
    "--config.model.pruning=none",
    "--config.distillation.teacher_epochs=0.",  # of another task
    "--config.distillation.teacher_learning_rate=0.",
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A network that keeps every token."""
    workdir = tmp_path_factory.mktemp("teacher") / "whole"
    finished = train_small(workdir, *UNPRUNED, *SIZES, config=CONFIG)
    assert finished.returncode == 0, finished.stderr
    return workdir


def prune(workdir, teacher, *arguments):
    given = f"--config.distillation.teacher={teacher}"
    return train_small(workdir, given, *SIZES, *arguments, config=CONFIG)


@pytest.mark.long  # classes in another order train with a teacher too
def test_what_would_prune_may_differ(teacher, tmp_path):
    finished = prune(tmp_path / "run", teacher, "--config.model.keep_ratio=0.5")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("argument", "difference"),
    [
        ("model.num_heads=4", "model.num_heads 2, not 4"),
        ("data.mean=(0.5,)", "mean (0.3056), not (0.5)"),
        ("data.image_size=24", "model.img_size 16, not 24; height 16, not 24; width"),
        ("data.classes=('3','1','4')", "model.num_classes 10, not 3"),
    ],
)
def test_a_teacher_of_other_settings_is_refused(
    teacher, tmp_path, argument, difference
):
    finished = prune(tmp_path / "run", teacher, f"--config.{argument}")
    assert finished.returncode == 2
    assert difference in finished.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.long  # the settings refused above go the same way
def test_a_teacher_that_prunes_is_none(teacher, tmp_path):
    finished = prune(tmp_path / "first", teacher)
    assert finished.returncode == 0, finished.stderr
    finished = prune(tmp_path / "second", tmp_path / "first")
    assert finished.returncode == 2
    assert "model.pruning 'learned', not 'none'" in finished.stderr


def test_its_classes_may_be_in_another_order(teacher, tmp_path):
    turned = tuple("9876543210")
    finished = prune(
        *(tmp_path / "run", teacher, f"--config.data.classes={turned!r}"),
        "--config.optimizer.learning_rate=0.",
    )
    assert finished.returncode == 0, finished.stderr
    ours, theirs = (
        load_weights(at, "last").variables["params"]["head"]["kernel"]
        for at in (tmp_path / "run", teacher)
    )
    assert (ours == theirs[:, ::-1]).all()
