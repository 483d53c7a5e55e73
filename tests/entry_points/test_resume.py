"""A run that is cut ends with the parameters of one that is not, bit for bit."""

import json
import pathlib
import random
import signal
import subprocess
import time

import numpy as np
import pytest
from helpers import training_runs

from tokenjax.training.checkpoints import load_initial_variables

STEPS = 24


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    finished = training_runs.train_small(workdir, training_runs.FIGURES)
    assert finished.returncode == 0, finished.stderr
    return workdir


def parameters(workdir: pathlib.Path) -> list[np.ndarray]:
    import jax

    return jax.tree.leaves(load_initial_variables(workdir, "last"))


def assert_same_end(workdir: pathlib.Path, undisturbed: pathlib.Path) -> None:
    for ours, theirs in zip(parameters(workdir), parameters(undisturbed), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rows = [
        [json.loads(line) for line in (path / "metrics.jsonl").open()]
        for path in (workdir, undisturbed)
    ]
    losses = [
        [(row["step"], row["train/loss"]) for row in run if "train/loss" in row]
        for run in rows
    ]
    assert losses[0][-1] == losses[1][-1]
    validations = [[r for r in run if "validation/loss" in r] for run in rows]
    assert validations[0] == validations[1]


def wait_for_step(workdir: pathlib.Path, process: subprocess.Popen, step: int) -> None:
    """Until metrics.jsonl tells of a step, or the process has ended."""
    deadline = time.monotonic() + 120
    path = workdir / "metrics.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        lines = path.read_text().splitlines() if path.exists() else []
        if lines and json.loads(lines[-1])["step"] >= step:
            return
        time.sleep(0.01)


def start_and_signal(workdir: pathlib.Path, step: int, number: signal.Signals) -> int:
    arguments = ["--config", "configs/vdpa.py", "--workdir", workdir]
    process = subprocess.Popen(
        training_runs.command("train.py", *arguments, *training_runs.SMALL),
        cwd=training_runs.REPOSITORY,
        env=training_runs.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_step(workdir, process, step)
    process.send_signal(number)
    return process.wait(timeout=30)


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([(8, 14)], id="one"),
        pytest.param([(1, 7), (8, 14), (15, 21)], id="three", marks=pytest.mark.long),
    ],
)
def test_sigkills(tmp_path, undisturbed, moments):
    draws = random.Random(0)
    for earliest, latest in moments:
        start_and_signal(tmp_path, draws.randint(earliest, latest), signal.SIGKILL)
    finished = training_runs.train_small(tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert_same_end(tmp_path, undisturbed)


def test_sigterm_saves_and_exits_0(tmp_path, undisturbed):
    assert start_and_signal(tmp_path, 4, signal.SIGTERM) == 0
    saved = [
        int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()
    ]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert rows[-1]["step"] == max(saved)
    assert max(saved) < STEPS, "the signal came too late to test anything"
    finished = training_runs.train_small(tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert_same_end(tmp_path, undisturbed)


def test_the_files_of_a_run(undisturbed):
    names = {path.name for path in undisturbed.iterdir()}
    assert {
        "config.json",
        "checkpoints",
        "metrics.jsonl",
        "history.json",
        "evaluation.json",
        "evaluation.txt",
        "figures",
    } <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    history = json.loads((undisturbed / "history.json").read_text())
    assert history["train"]["step"][-1] == STEPS
    assert len(history["validation"]["top1"]) == len(history["validation"]["step"])
    evaluation = json.loads((undisturbed / "evaluation.json").read_text())
    assert evaluation["split"] == "test"
    assert np.sum(evaluation["confusion_matrix"]) == evaluation["examples"]
    figures = {path.name for path in (undisturbed / "figures").iterdir()}
    assert {"training_curves.png", "confusion_matrix.png"} <= figures
    assert len(figures) >= 4  # and what VDPA looked at
    evaluated = [0, *history["validation"]["step"]]
    looks = sorted(path.name for path in (undisturbed / "looks").iterdir())
    assert looks == ["looks.gif", *(f"step_{step:08}.png" for step in evaluated)]


def test_a_second_run_says_that_it_is_complete(undisturbed):
    before = parameters(undisturbed)
    finished = training_runs.train_small(undisturbed)
    assert finished.returncode == 0
    assert "complete" in finished.stdout
    for ours, theirs in zip(parameters(undisturbed), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.long  # test_evaluation_of_runs.py compares them too
def test_eval_agrees_with_the_run(undisturbed, tmp_path):
    expected = json.loads((undisturbed / "evaluation.json").read_text())
    arguments = ["--config", "configs/vdpa.py", "--checkpoint", undisturbed]
    arguments += ["--workdir", tmp_path, *training_runs.SMALL]
    finished = training_runs.run("eval.py", *arguments, own_process=True)
    assert finished.returncode == 0, finished.stderr
    actual = json.loads((tmp_path / "evaluation.json").read_text())
    assert actual["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert actual["confusion_matrix"] == expected["confusion_matrix"]

    more = ["--split", "validation", training_runs.FIGURES]
    finished = training_runs.run("eval.py", *arguments, *more)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "evaluation-validation.json").exists()
    assert (tmp_path / "figures-validation" / "confusion_matrix.png").exists()
