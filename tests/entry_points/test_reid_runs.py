"""Re-identification's workflow: train, evaluate, go on; and what a user gets wrong."""

import concurrent.futures
import json
import shutil
import subprocess
import threading

import jax
import numpy as np
import pytest
from helpers import training_runs
from test_mistakes import assert_one_sentence

from tokenjax.data.people import synthetic_reid
from tokenjax.training.checkpoints import load_initial_variables

CONFIG = "configs/sdtps.py"
NO_FIGURES = "--config.figures=False"
SMALL = [
    "--config.data.identities=8",
    "--config.data.validation_identities=2",
    "--config.data.height=32",
    "--config.data.width=16",
    "--config.model.width=16",
    "--config.model.feat_dim=16",
    "--config.model.depth=1",
    "--config.model.num_heads=2",
    "--config.batch_size=8",
    "--config.steps=12",  # of three steps an epoch
    "--config.log_every_steps=3",
    "--config.evaluate_every_epochs=2",
    "--config.checkpoint.every_epochs=2.4",  # in the middle of an epoch
    "--config.reid.direct_only_epochs=2.5",
    "--config.reid.missing_modalities=False",
]
PARTS = ("backbone", "fusion", "heads")


@pytest.fixture(scope="module")
def data_flag(tmp_path_factory):
    """Where the generated set lies once a run has made it."""
    return f"--config.data.directory={tmp_path_factory.mktemp('reid') / 'set'}"


@pytest.fixture(scope="module")
def run(data_flag):
    def start(workdir, *more, script="train.py", **extra):
        arguments = ["--config", CONFIG, "--workdir", workdir, data_flag, *SMALL]
        return training_runs.run(script, *arguments, *more, timeout=300, **extra)

    return start


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained") / "run"
    finished = run(workdir)
    assert finished.returncode == 0, finished.stderr
    return workdir, finished.stdout


def evaluation(workdir, split=""):
    return json.loads((workdir / f"evaluation{split}.json").read_text())


def rows(workdir, key):
    """Logged rows that have the key, without what depends on the machine."""
    found = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return [
        {name: value for name, value in row.items() if "per_second" not in name}
        for row in found
        if key in row
    ]


def test_a_run_tells_what_it_reached_and_what_chance_would(trained):
    workdir, printed = trained
    found = evaluation(workdir)
    chance = found["chance"]
    assert (
        f"would reach mAP {chance['mAP']:.2%}, rank-1 {chance['rank1']:.2%}" in printed
    )
    lines = printed.splitlines()
    for name in ("direct", "fused", "concat"):
        (line,) = [line for line in lines if line.strip().startswith(f"{name}: ")]
        assert f"mAP {found['features'][name]['mAP']:.2%}, rank-1 " in line
    assert "conditions" not in found


def test_the_files_of_a_run(trained):
    workdir, _ = trained
    found = evaluation(workdir)
    assert (found["split"], found["step"], found["feature"]) == ("test", 12, "concat")
    assert found["examples"] == found["gallery"] == found["queries"] == 48
    assert found["mAP"] == found["features"]["concat"]["mAP"]
    assert {"mINP", "rank1", "rank5", "rank10", "cmc"} <= set(found)
    drawn = {path.name for path in (workdir / "figures").iterdir()}
    assert drawn == {
        "aggregation_weights.png",
        "cmc.png",
        "feature_map.png",
        "kept_tokens.png",
        "rank_lists_nir.png",
        "rank_lists_rgb.png",
        "rank_lists_tir.png",
        "retrieval_curves.png",
        "selection_scores.png",
        "training_curves.png",
    }
    for name in drawn:
        assert (workdir / "figures" / name).stat().st_size > 5_000
    looks = {path.name for path in (workdir / "looks").iterdir()}
    assert looks == {"looks.gif", *(f"step_{step:08}.png" for step in (0, 6, 12))}


def test_the_log_has_gradients_by_part_and_validations_by_feature(trained):
    workdir, _ = trained
    logged = rows(workdir, "train/loss")
    assert [row["step"] for row in logged] == [3, 6, 7, 9, 12]
    for row in logged:
        norms = {part: row[f"train/gradient_norm_{part}"] for part in PARTS}
        assert norms["backbone"] > 0
        assert norms["heads"] > 0
        # Eight of the twelve steps leave the fused branch alone.
        assert (norms["fusion"] > 0) is (row["step"] > 8)
    validated = rows(workdir, "validation/mAP")
    assert [row["step"] for row in validated] == [6, 12]
    for row in validated:
        assert row["validation/mAP"] == row["validation/mAP_concat"]
        assert {"validation/mAP_fused", "validation/rank1_direct"} <= set(row)


def test_a_run_that_is_complete_is_evaluated_again(trained, run):
    workdir, _ = trained
    before = (workdir / "evaluation.json").read_bytes()
    log = (workdir / "metrics.jsonl").read_bytes()
    finished = run(workdir, NO_FIGURES)
    assert finished.returncode == 0, finished.stderr
    assert "training is complete at step 12" in finished.stdout
    assert (workdir / "evaluation.json").read_bytes() == before
    assert (workdir / "metrics.jsonl").read_bytes() == log


@pytest.mark.long  # test_resume.py cuts a classifier's
def test_a_run_cut_at_half_ends_as_the_whole_one(trained, run, tmp_path):
    """Cut in an epoch of the sampler's, one step before the fused branch wakes."""
    workdir, _ = trained
    again = tmp_path / "run"
    shutil.copytree(workdir, again)
    assert (again / "checkpoints" / "7").is_dir()
    shutil.rmtree(again / "checkpoints" / "12")
    (again / "evaluation.json").unlink()
    finished = run(again, NO_FIGURES)
    assert finished.returncode == 0, finished.stderr
    ours, theirs = (load_initial_variables(path, "last") for path in (again, workdir))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    for key in ("train/loss", "validation/mAP"):
        assert rows(again, key) == rows(workdir, key)
    assert evaluation(again) == evaluation(workdir)


@pytest.mark.long  # test_data_parallel.py holds a classifier to it
def test_two_devices_train_as_one(trained, run, tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    finished = run(tmp_path, NO_FIGURES, XLA_FLAGS=flags)
    assert finished.returncode == 0, finished.stderr
    assert not (tmp_path / "figures").exists()
    workdir, _ = trained
    found, expected = rows(tmp_path, "train/loss"), rows(workdir, "train/loss")
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    both = evaluation(tmp_path), evaluation(workdir)
    maps = [[f["mAP"] for f in one["features"].values()] for one in both]
    assert maps[0] == pytest.approx(maps[1], rel=1e-5)


def test_eval_of_a_split_and_without_some_modalities(trained, run, tmp_path):
    workdir, _ = trained
    more = ["--checkpoint", workdir, "--split", "validation"]
    more.append("--config.reid.missing_modalities=True")
    finished = run(tmp_path, *more, NO_FIGURES, script="eval.py")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("validation: 24 queries, 24 in the gallery")
    logged = rows(workdir, "validation/mAP")[-1]
    found = evaluation(tmp_path, "-validation")
    for name, summary in found["features"].items():
        assert summary["mAP"] == pytest.approx(logged[f"validation/mAP_{name}"])
    assert len(found["conditions"]) == 6
    for name in ("rgb", "nir", "tir", "rgb_nir", "rgb_tir", "nir_tir"):
        reached = found["conditions"][f"missing_{name}"]
        line = f" missing {name.replace('_', ' ')}: mAP {reached['mAP']:.2%}, rank-1 "
        assert line in finished.stdout


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("batch_size=10", ["batch_size must be a multiple of reid.instances 4"]),
        ("batch_size=64", ["16 identities x", "has 2 identities to train on"]),
        ("model.fusion=sdpts", ["fusion must be one of", "'sdpts'"]),
    ],
    ids=["batch_size", "identities", "fusion"],
)
def test_mistakes(trained, run, tmp_path, argument, parts):
    finished = run(tmp_path / "run", f"--config.{argument}")
    assert_one_sentence(finished, *parts)
    assert not (tmp_path / "run").exists()


def test_a_classifier_retrieves_nothing(data_flag, tmp_path):
    of_the_run = [flag for flag in SMALL if not flag.startswith("--config.model.")]
    finished = training_runs.run(
        "train.py",
        *["--config", CONFIG, "--workdir", tmp_path / "run", data_flag, *of_the_run],
        "--config.model.name=vit",
    )
    assert_one_sentence(finished, "vit")
    assert not (tmp_path / "run").exists()


def test_a_set_that_is_not_there(tmp_path):
    flags = ["--config", f"{CONFIG}:rgbnt201", "--workdir", tmp_path / "run"]
    finished = training_runs.run("train.py", *flags)
    assert_one_sentence(finished, "--config.data.directory=PATH")
    flags.append(f"--config.data.directory={tmp_path / 'nowhere'}")
    finished = training_runs.run("train.py", *flags)
    assert_one_sentence(finished, "rgbnt201", "nowhere is not a directory")
    assert not (tmp_path / "run").exists()


TINY = {"height": 32, "width": 16, "images_per_camera": 1, "cameras": 2}


def assert_whole(directory):
    """All that the manifest promises, and nothing left beside it."""
    settings = json.loads((directory / synthetic_reid.MANIFEST).read_text())["settings"]
    pictures = settings["identities"] * settings["cameras"]
    pictures *= settings["images_per_camera"] * 3
    assert len(list(directory.rglob("*.jpg"))) == pictures
    assert list(directory.parent.iterdir()) == [directory]


def test_two_threads_make_one_set(tmp_path, monkeypatch):
    directory = tmp_path / "sets" / "set"
    write, both_are_written = synthetic_reid._write, threading.Barrier(2, timeout=60)

    def write_together(*arguments):
        write(*arguments)
        both_are_written.wait()

    monkeypatch.setattr(synthetic_reid, "_write", write_together)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(synthetic_reid.generate, directory, 4, **TINY) for _ in range(2)
        ]
        assert [each.result() for each in made] == [None, None]
    assert_whole(directory)


def test_two_processes_make_one_set(tmp_path):
    """As an ablation's first two runs do."""
    directory = tmp_path / "sets" / "set"
    flags = [f"--{name}={value}" for name, value in {"identities": 8, **TINY}.items()]
    command = training_runs.command(
        "-m tokenjax.data.people.synthetic_reid", "--output", directory, *flags
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = training_runs.environment()
    both = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    for process in both:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "8 identities" in output
    assert_whole(directory)
