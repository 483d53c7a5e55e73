"""A workdir by any spelling is one place, where one training goes on at a time."""

import json
import os
from unittest import mock

import pytest
from helpers import training_runs
from helpers.entry_points import run_in_process

from tokenjax import storage
from tokenjax.training.observation.observer import Observer
from tokenjax.training.run_lock import RunLock

FEW = ["--config.steps=4", "--config.log_every_steps=1"]
CONFIG = ["--config", "configs/vdpa.py", *training_runs.SMALL]


def assert_refused(finished, *parts):
    assert finished.returncode == 2, (finished.stdout, finished.stderr)
    assert len(finished.stderr.splitlines()) == 1, finished.stderr
    for part in parts:
        assert part in finished.stderr


@pytest.fixture(scope="module")
def trained_and_locked(tmp_path_factory):
    """A finished run, trained by a spelling that has everything, and who locked it."""
    root = tmp_path_factory.mktemp("spelt")
    (root / "a b").mkdir()
    (root / "link é").symlink_to(root / "a b")
    spelling = f"{root}/nothing/../link é/../a b/ünï//run/"
    workdir, seen = root / "a b" / "ünï" / "run", []

    def look(self):
        seen.append(json.loads((workdir / "run.lock").read_text())["pid"])
        return 0.0

    with mock.patch.object(Observer, "first_step", look):
        finished = training_runs.train_small(spelling, *FEW)
    assert finished.returncode == 0, finished.stderr
    return workdir, seen


@pytest.fixture(scope="module")
def trained(trained_and_locked):
    return trained_and_locked[0]


def test_any_spelling_is_one_place(trained, tmp_path, monkeypatch):
    root = trained.parents[2]
    assert {path.name for path in root.iterdir()} == {"a b", "link é"}
    assert sorted(path.name for path in (trained / "checkpoints").iterdir()) == [
        "4",
        "checksums",
    ]
    monkeypatch.chdir(root / "a b")
    relative = ["--workdir", "../a b/./ünï/run"]
    evaluated = run_in_process("eval", *CONFIG, *FEW, *relative)
    assert evaluated.returncode == 0, evaluated.stderr
    monkeypatch.setenv("HOME", str(root))
    again = training_runs.train_small("~/link é/ünï/run", *FEW)
    assert again.returncode == 0, again.stderr
    assert "complete at step 4" in again.stdout
    assert {path.name for path in root.iterdir()} == {"a b", "link é"}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["--config", "configs/vit.py", "--workdir", "gs://bucket/run"]),
        ("train", ["--config", "configs/vit.py", "--workdir=s3://bucket/run"]),
        ("eval", ["--config", "configs/vit.py", "--workdir", "gs://bucket/run"]),
        ("eval", ["--config", "configs/vit.py", "--checkpoint", "https://host/x"]),
        ("study", ["--config", "configs/routing.py", "--workdir", "gs://bucket/run"]),
        ("ablate", ["--config", "configs/routing.py", "--workdir", "gs://bucket/run"]),
        ("bench", ["--model", "vit", "--csv", "gs://bucket/out.csv"]),
        ("bench", ["--model", "vit", "--json", "gs://bucket/out.json"]),
        ("analyze", ["--workdirs", "vit=gs://bucket/run"]),
        ("convert", ["--model", "vit", "--checkpoint", "x", "--output", "gs://b/run"]),
        ("data", ["--output", "gs://bucket/set"]),
        ("chaos", ["--workdir", "gs://bucket/run"]),
    ],
)
def test_an_address_is_no_directory(tmp_path, monkeypatch, command, arguments):
    monkeypatch.chdir(tmp_path)
    finished = run_in_process(command, *arguments)
    assert_refused(finished, "://", "an address, where a path on this machine is due")
    assert list(tmp_path.iterdir()) == []


def test_a_second_training_is_refused_and_eval_is_not(trained):
    before = sorted((path, path.stat().st_mtime_ns) for path in trained.rglob("*"))
    lock = RunLock(trained)
    lock.acquire()
    second = training_runs.train_small(trained, *FEW)
    assert_refused(second, "a run is going on there", f"process {os.getpid()} on")
    evaluated = run_in_process("eval", *CONFIG, *FEW, "--workdir", trained)
    assert evaluated.returncode == 0, evaluated.stderr
    lock.release()
    same = [path for path, when in before if path.stat().st_mtime_ns == when]
    changed = {path.name for path, _ in before if path not in same}
    assert changed <= {"run", "evaluation.json", "evaluation.txt"}


def test_a_run_holds_its_lock(trained_and_locked):
    workdir, seen = trained_and_locked
    assert seen == [os.getpid()]
    assert not (workdir / "run.lock").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config.init_from={run}/nowhere"], "no directory"),
        (["--config.init_from={run}/checkpoints"], "holds no run and no converted"),
        (["--config.init_from=gs://bucket/run"], "an address, where a path"),
        (
            ["--config.init_from={run}", "--config.model.depth=2"],
            "model.depth 1, not 2",
        ),
    ],
)
def test_a_start_that_fails_on_its_weights_leaves_nothing(
    trained, tmp_path, arguments, sentence
):
    given = [each.format(run=trained) for each in arguments]
    place = tmp_path / "runs" / "new"
    failed = training_runs.train_small(place, *FEW, *given)
    assert failed.returncode == 2, failed.stderr
    assert sentence in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    finished = run_in_process("eval", *CONFIG, "--workdir", tmp_path)
    assert_refused(finished, f"{tmp_path} holds no run and no converted checkpoint")


def test_a_run_grows_and_does_not_shrink(tmp_path):
    flags = ["--config.log_every_steps=1", "--config.schedule.warmup_epochs=0.0"]
    first = training_runs.train_small(tmp_path, *flags, "--config.steps=4")
    assert first.returncode == 0, first.stderr
    longer = training_runs.train_small(tmp_path, *flags, "--config.steps=8")
    assert longer.returncode == 0, longer.stderr
    optimizer = storage.read_json(tmp_path / "config.json")["optimizer"]
    rate = 0.5 * optimizer["learning_rate"]
    said = [line for line in longer.stdout.splitlines() if "laid anew" in line]
    assert len(said) == 1
    assert "is 8 steps long, was 4" in said[0]
    assert f"learning rate at step 4 is {rate:.3g}, was 0" in said[0]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 9))
    assert storage.read_json(tmp_path / "config.json")["steps"] == 8
    shorter = training_runs.train_small(tmp_path, *flags, "--config.steps=6")
    assert_refused(shorter, "steps=6 is 6 steps, but 8 are done", "at least 8")
    assert storage.read_json(tmp_path / "config.json")["steps"] == 8


def test_weights_that_were_read_are_not_asked_for_again(trained, tmp_path):
    given = f"--config.init_from={trained}"
    first = training_runs.train_small(tmp_path, *FEW, given)
    assert first.returncode == 0, first.stderr
    gone = f"--config.init_from={tmp_path}/nowhere"
    again = training_runs.train_small(tmp_path, *FEW, gone)
    assert again.returncode == 0, again.stderr
    assert "init_from is another than at the run's start" in again.stdout


def test_pictures_that_moved(tmp_path, monkeypatch):
    import numpy as np
    from PIL import Image

    pictures = tmp_path / "pictures"
    for number in range(40):
        place = pictures / ("cat", "dog")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(place)
    monkeypatch.chdir(tmp_path)

    def train(directory, *more):
        flags = ["--config", "configs/vdpa.py:image_folder", *CONFIG[2:]]
        flags += [f"--config.data.directory={directory}", "--config.batch_size=8"]
        flags += ["--workdir", tmp_path / "run", "--config.steps=2", *more]
        return run_in_process("train", *flags)

    first = train(pictures)
    assert first.returncode == 0, first.stderr
    pictures.rename(tmp_path / "moved")
    for directory, more in [
        ("moved", "--config.data.cache_bytes=0"),
        (f"{tmp_path}/run/.././moved/", "--config.data.max_pixels=1000"),
    ]:
        again = train(directory, more)
        assert again.returncode == 0, again.stderr
        assert "complete at step 2" in again.stdout
