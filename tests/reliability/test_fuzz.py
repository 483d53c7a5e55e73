"""Some seeds of each target, and those that once found something.

All thousand: python -m tokenjax.reliability.fuzz (docs/reliability.md).
"""

import json
import subprocess
import sys

import pytest
from helpers import training_runs

from tokenjax.reliability import fuzz

FOUND = {
    "configs": [
        14,  # a directory's name broke the sentence into two lines
        1378,  # data.source was a list, and no list can be looked up
    ],
    "state_dicts": [730],  # a zip file in several parts, which zipfile only raises for
}


@pytest.mark.parametrize(
    "seeds", [range(4), pytest.param(range(4, 30), marks=pytest.mark.long)]
)
@pytest.mark.parametrize("target", ["configs", "images", "state_dicts"])
def test_no_seed_gets_by(target, seeds, tmp_path, caplog):
    if target == "state_dicts":
        pytest.importorskip("torch", minversion="2.10")
    caplog.set_level("ERROR")
    for seed in [*seeds, *FOUND.get(target, [])]:
        outcome = fuzz.run_seed(target, seed, tmp_path / "seed")
        assert outcome.startswith(("handled: ", "refused: ")), seed


def damaged(monkeypatch, run):
    """A target that does what `run` does."""
    module = type(sys)("tokenjax.reliability.damaged_test")
    module.run = run
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_what_counts_as_a_failure(tmp_path, monkeypatch):
    def run(seed, directory):
        assert list(directory.iterdir()) == []  # empty for every seed
        (directory / "left").touch()
        if seed == 0:
            return "handled: well"
        if seed == 1:
            return "refused: with a sentence"
        if seed == 2:
            return {}["key"]
        if seed == 3:
            return "shrugged"
        if seed == 4:
            sys.exit(0)
        while True:
            pass

    damaged(monkeypatch, run)
    monkeypatch.setattr(fuzz, "CPU_SECONDS", 0.3)
    outcome = fuzz.run_target("test", 0, 6, tmp_path / "seed")
    assert (outcome.seeds, outcome.handled, outcome.refused) == (6, 1, 1)
    assert [*outcome.failures] == [2, 3, 4, 5]
    assert outcome.failures[2].startswith("KeyError 'key' (test_fuzz.py:")
    assert "neither handled nor refused" in outcome.failures[3]
    assert outcome.failures[4].startswith("SystemExit")
    assert "more than 0.3 s of processor time" in outcome.failures[5]


def test_memory_taken_is_a_failure(tmp_path, monkeypatch):
    def run(seed, directory):
        return f"handled: {len(bytes(2**27))} bytes"

    damaged(monkeypatch, run)
    monkeypatch.setattr(fuzz, "MEMORY", -1)
    outcome = fuzz.run_target("test", 0, 1, tmp_path / "seed")
    assert "MiB of memory: handled" in outcome.failures[0]


def test_the_command(tmp_path):
    output = tmp_path / "fuzz.json"
    command = ["-m tokenjax.reliability.fuzz", "--seeds=3", f"--json={output}"]
    finished = training_runs.run(*command, "--target=images", timeout=600)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[0].split() == [
        *("target", "seeds", "handled", "refused", "failures")
    ]
    (row,) = json.loads(output.read_text())
    assert row["target"] == "images"
    assert row["handled"] + row["refused"] == row["seeds"] == 3
    assert row["failures"] == {}


def test_an_unknown_target():
    finished: subprocess.CompletedProcess = training_runs.run(
        "-m tokenjax.reliability.fuzz", "--target=image", timeout=600
    )
    assert finished.returncode == 2
    assert "unknown target 'image', did you mean 'images'" in finished.stderr
