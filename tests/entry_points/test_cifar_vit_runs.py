"""The CIFAR-ViT family's workflow: prune with a teacher, train on a long tail."""

import json
import shutil

import jax
import numpy as np
import pytest
from helpers import training_runs

from tokenjax import data, evaluation
from tokenjax.training.checkpoints import load_initial_variables, load_weights

DYNAMIC = "configs/dynamic_vit.py"
TINY = [
    "--config.model.patch_size=4",
    "--config.model.depth=3",
    "--config.model.stages=(1,2)",
    "--config.steps=12",
    "--config.evaluate_every_epochs=1.0",
    "--config.observation.looks=2",
]


def read(workdir):
    return json.loads((workdir / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("pruned") / "run"
    settings = [*TINY, "--config.distillation.teacher_epochs=0.0"]
    finished = training_runs.train_small(
        workdir, *settings, training_runs.FIGURES, config=DYNAMIC, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return workdir, settings, finished


def test_a_pruning_run_trains_its_teacher_first(pruned):
    workdir, _, finished = pruned
    assert "first its teacher" in finished.stdout
    assert "its teacher, which keeps every token" in finished.stdout
    teacher = json.loads((workdir / "teacher" / "config.json").read_text())
    assert teacher["task"] == "classification"
    assert teacher["model"]["pruning"] == "none"
    assert read(workdir / "teacher")["examples"] == read(workdir)["examples"]
    assert (workdir / "figures" / "kept_patches.png").stat().st_size > 10_000
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    trained = [row for row in rows if "train/kept_2" in row]
    assert 0 < trained[-1]["train/kept_2"] < trained[-1]["train/kept_1"] < 1


@pytest.mark.long  # test_resume.py goes on from a step
def test_it_goes_on_from_an_earlier_step_with_its_teacher(pruned, tmp_path):
    workdir, settings, _ = pruned
    again = tmp_path / "run"
    shutil.copytree(workdir, again)
    steps = [path for path in (again / "checkpoints").iterdir() if path.name.isdigit()]
    assert len(steps) > 1
    shutil.rmtree(max(steps, key=lambda path: int(path.name)))
    (again / "evaluation.json").unlink()
    shutil.rmtree(again / "teacher" / "checkpoints")  # the run has its own copy
    finished = training_runs.train_small(again, *settings, config=DYNAMIC)
    assert finished.returncode == 0, finished.stderr
    ours, theirs = (load_initial_variables(path, "last") for path in (again, workdir))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.long  # test_workdirs.py asks no more for init_from
def test_a_begun_run_does_not_ask_for_a_teacher(pruned, tmp_path):
    workdir, settings, _ = pruned
    again = tmp_path / "run"
    shutil.copytree(workdir, again)
    shutil.rmtree(again / "teacher")
    gone = ["--config.distillation.teacher=nowhere", "--config.steps=13"]
    finished = training_runs.train_small(again, *settings, *gone, config=DYNAMIC)
    assert finished.returncode == 0, finished.stderr
    assert "distillation.teacher is another than at the run's start" in finished.stdout
    assert "the run is 13 steps long, was 12" in finished.stdout
    assert not (again / "teacher").exists()


def test_a_teacher_of_another_size_claims_no_workdir(pruned, tmp_path):
    workdir, settings, _ = pruned
    wrong = [f"--config.distillation.teacher={workdir}", "--config.model.embed_dim=24"]
    finished = training_runs.train_small(
        tmp_path / "new" / "run", *settings, *wrong, config=DYNAMIC
    )
    assert finished.returncode == 2, finished.stderr
    assert "distillation.teacher" in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_weights_without_pruning(pruned, tmp_path):
    workdir, settings, _ = pruned
    finished = training_runs.run(
        "eval.py",
        *["--config", DYNAMIC, "--checkpoint", workdir, "--workdir", tmp_path],
        *[*training_runs.SMALL, *settings, "--config.model.pruning=none"],
        "--changes=pruning",
    )
    assert finished.returncode == 0, finished.stderr
    unpruned = json.loads((tmp_path / "evaluation-pruning_none.json").read_text())
    assert unpruned["loss"] != read(workdir)["loss"]


@pytest.fixture(scope="module")
def teacher(pruned):
    """A network that keeps every token."""
    return pruned[0] / "teacher"


def prune(workdir, teacher, *arguments):
    """Prune with a teacher that is given."""
    given = f"--config.distillation.teacher={teacher}"
    few = "--config.steps=2"
    return training_runs.train_small(
        workdir, *TINY, given, few, *arguments, config=DYNAMIC
    )


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


@pytest.mark.long  # a run of its own; its parts have tests
def test_an_imbalanced_run_reports_many_and_few(tmp_path):
    workdir = tmp_path / "run"
    settings = [
        "--config.augmentation.mixup=0.2",
        "--config.augmentation.cutmix=1.0",
        "--config.imbalance.sampler=weighted",
        "--config.imbalance.class_weights=inverse_frequency",
        "--config.steps=8",
        "--config.observation.looks=0",
    ]
    config = "configs/imbalanced.py"
    finished = training_runs.train_small(
        workdir, *settings, training_runs.FIGURES, config=config
    )
    assert finished.returncode == 0, finished.stderr
    figure = workdir / "figures" / "class_distribution.png"
    assert figure.stat().st_size > 10_000
    assert (workdir / "figures" / "recall_per_class.png").exists()
    kept = data.read_indices(workdir / "train_indices.txt")
    evaluated = training_runs.run(
        "eval.py",
        *["--config", config, "--workdir", workdir, *training_runs.SMALL, *settings],
    )
    assert evaluated.returncode == 0, evaluated.stderr
    assert "many-shot" in evaluated.stdout
    assert "macro F1" in evaluated.stdout
    summary = read(workdir)
    assert summary["train_counts"] == [124, 91, 65, 47, 33, 24, 17, 12, 8, 6]
    groups = {name: group["classes"] for name, group in summary["shots"].items()}
    assert groups == {"many": 3, "medium": 3, "few": 4}
    supports = [row["support"] for row in summary["per_class"]]
    assert max(supports) < 1.2 * min(supports)  # the test split stays balanced
    report = (workdir / "evaluation.txt").read_text()
    assert report == evaluation.write_report(summary)

    # The list of what was kept, given back, makes the same run.
    source = data.load({"source": "digits", "image_size": 16})
    assert np.bincount(source.train.labels[kept]).tolist() == summary["train_counts"]
    listed = [*settings, "--config.imbalance.profile=none", "--config.steps=4"]
    listed.append(f"--config.imbalance.indices={workdir / 'train_indices.txt'}")
    again = tmp_path / "again"
    finished = training_runs.train_small(again, *listed, config=config)
    assert finished.returncode == 0, finished.stderr
    np.testing.assert_array_equal(data.read_indices(again / "train_indices.txt"), kept)
