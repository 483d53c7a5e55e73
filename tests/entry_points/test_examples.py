"""examples/: a model, a source and a router of a user's own, and every command on them.

Nothing of the package knows them: they are registered by one file, which a
configuration imports, or --import.
"""

import json
import re
import sys

import pytest
from helpers.entry_points import run_in_process
from helpers.training_runs import REPOSITORY

from tokenjax.data.sources import SOURCES
from tokenjax.models.registry import MODELS
from tokenjax.models.routing import ROUTERS

CONFIG = REPOSITORY / "examples" / "my_config.py"
MODEL = REPOSITORY / "examples" / "my_model.py"
QUICK = ["--config.epochs=10", "--config.figures=False", "--config.log_every_steps=20"]
BRIEF = ["--repeats", 2, "--warmup", 1]
LINES = 60


@pytest.fixture(scope="module")
def registries():
    """Puts the registries back as they were, and forgets the module."""
    kept = [(each, dict(each._things)) for each in (MODELS, SOURCES, ROUTERS)]

    def forget():
        sys.modules.pop("my_model", None)
        for registry, things in kept:
            registry._things = dict(things)

    yield forget
    forget()


@pytest.fixture(scope="module")
def workdir(registries, tmp_path_factory):
    """A run of train.py."""
    path = tmp_path_factory.mktemp("examples") / "mine"
    finished = run_in_process("train", "--config", CONFIG, "--workdir", path, *QUICK)
    assert finished.returncode == 0, finished.stderr
    assert "test: top-1" in finished.stdout
    return path


def test_one_file_of_sixty_lines():
    lines = [line for line in MODEL.read_text().splitlines() if line.strip()]
    assert len(lines) <= LINES
    assert "register" not in CONFIG.read_text().partition("def get_config")[2]


def test_train_and_evaluate(workdir):
    trained = json.loads((workdir / "evaluation.json").read_text())
    assert trained["top1"] > 0.9, "four directions: chance is a quarter"
    flags = ["--config", CONFIG, "--workdir", workdir, *QUICK]
    finished = run_in_process("eval", *flags, "--split", "validation")
    assert finished.returncode == 0, finished.stderr
    assert "validation: top-1" in finished.stdout
    finished = run_in_process("eval", *flags)
    evaluated = json.loads((workdir / "evaluation.json").read_text())
    assert evaluated | {"step": trained["step"]} == trained  # eval.py knows no step


def test_every_argument_can_be_set(registries, tmp_path):
    flags = ["--config", CONFIG, "--workdir", tmp_path, *QUICK]
    for argument, part in (
        ("model.embed_dmi=3", "did you mean 'model.embed_dim'"),
        ("model.embed_dim=wide", "embed_dim"),
        ("data.noise=loud", "noise"),
        ("data.nois=0.1", "did you mean 'data.noise'"),
    ):
        finished = run_in_process("train", *flags, f"--config.{argument}")
        assert finished.returncode == 2
        assert part in finished.stderr
    listed = run_in_process("settings", "--config", CONFIG, "--config.data.noise=0.5")
    assert "data.noise" in listed.stdout
    assert "0.5*" in listed.stdout


def test_analyze_a_run(registries, workdir, tmp_path):
    registries()
    figure = tmp_path / "figure.png"
    flags = ["--workdirs", f"mine={workdir}", "--figure", figure, *BRIEF]
    unknown = run_in_process("analyze", *flags)
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("error: model 'my_model' is not one of ours")
    assert re.search(r"--import \S*my_model", unknown.stderr)
    finished = run_in_process("analyze", *flags, "--import", MODEL)
    assert finished.returncode == 0, finished.stderr
    assert "mine (model my_model)" in finished.stdout
    assert figure.is_file()


def test_measure_the_model_and_the_router(registries):
    registries()
    unknown = run_in_process("bench", "--model", "my_model")
    assert unknown.returncode == 2
    finished = run_in_process("bench", "--model=my_model", "--import", MODEL, *BRIEF)
    assert finished.returncode == 0, finished.stderr
    assert "my_model" in finished.stdout
    small = (
        "router=my_router,img_size=16,patch_grid=2,encoder=lean,encoder_channels=4,"
        "big_hidden_dim=8,small_hidden_dim=4,embed_dim=4"
    )
    flags = ["--model", "attention_routing", "--set", small, *BRIEF]
    finished = run_in_process("bench", *flags, "--import", MODEL)
    assert finished.returncode == 0, finished.stderr
    registries()
    unknown = run_in_process("bench", *flags)
    assert unknown.returncode == 2
    assert "top_k, got 'my_router'" in unknown.stderr


def test_there_is_no_pytorch_of_it(registries):
    flags = ["--model", "my_model", "--import", MODEL, "--peer", "torch"]
    finished = run_in_process("bench", *flags)
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: --peer torch")


@pytest.mark.long
def test_train_the_router(registries, tmp_path):
    flags = ["--config", f"{CONFIG}:routing", "--workdir", tmp_path / "routing"]
    finished = run_in_process("train", *flags, *QUICK, "--config.steps=8")
    assert finished.returncode == 0, finished.stderr
    assert "of the patches to the big network" in finished.stdout
