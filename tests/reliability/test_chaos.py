"""A chaos run in its small form; the whole one is for `docs/reliability.md`."""

import dataclasses
import json

import pytest
from helpers import training_runs

from tokenjax.reliability import chaos, kills

SMALL = chaos.Plan(
    config=str(training_runs.REPOSITORY / "configs" / "vdpa.py"),
    overrides=[argument.removeprefix("--config.") for argument in training_runs.SMALL],
    kills=3,
    processes=1,
    steps=60,
    save_every=4,
    seed=9,
    patience=600.0,
)


@pytest.mark.long  # entry_points/test_resume.py kills a run too
def test_a_killed_run_ends_as_if_undisturbed(tmp_path, monkeypatch):
    for name, value in training_runs.environment().items():
        monkeypatch.setenv(name, value)
    report = chaos.run(SMALL, tmp_path / "chaos")
    assert report["passed"], chaos.table(report)
    assert report["hit"] == 3
    assert json.loads((tmp_path / "chaos" / "chaos.json").read_text()) == report
    text = (tmp_path / "chaos" / "chaos.md").read_text()
    assert "3 of 3 kills survived (3 met a run at work)" in text
    assert "bit-identical" in text


def test_the_kills_are_a_function_of_the_seed():
    planned = kills.plan(50, 1000, 2, seed=0)
    assert planned == kills.plan(50, 1000, 2, seed=0)
    assert planned != kills.plan(50, 1000, 2, seed=1)
    kinds = {kill.kind for kill in planned}
    assert {"SIGKILL", "SIGKILL of 0", "SIGKILL of 1", "SIGTERM of 0"} <= kinds
    assert {kill.moment for kill in planned} == set(kills.MOMENTS)
    targets = [kill.step for kill in planned if kill.moment != "start"]
    assert targets == sorted(targets), "each comes later than the one before"
    assert max(targets) < 1000


def test_the_small_form_has_both_signals_and_a_checkpoint():
    planned = kills.plan(SMALL.kills, SMALL.steps, SMALL.processes, SMALL.seed)
    assert {kill.name for kill in planned} == {"SIGKILL", "SIGTERM"}
    assert "checkpoint" in {kill.moment for kill in planned}


def test_a_difference_is_told(tmp_path):
    rows = [{"step": 1, "train/loss": 0.5, "train/gradient_norm": 2.0}]
    (tmp_path / "metrics.jsonl").write_text(json.dumps(rows[0]) + '\n{"step": 2, "tr')
    found = chaos._fingerprints(tmp_path)
    assert found == {1: (0.5, 2.0)}
    assert chaos._agree(found, {1: (0.5, 2.0), 2: (0.4, 2.0)})
    assert not chaos._agree(found, {1: (0.5000001, 2.0)})
    assert kills.logged_step(tmp_path) == 1


def test_a_kill_that_was_not_survived_is_in_the_table():
    kill = kills.plan(1, 20, 2, seed=0)[0]
    outcome = kills.Outcome(True, 7, True, [-9, 3], "launcher", 1.0, [5], False, True)
    row = chaos._row(kill, outcome, True, True)
    report = {"kills": [row], "survived": 0, "hit": 1, "identical": False}
    text = chaos.table(report)
    assert "-9, 3 (a survivor was ended) | 1.0 | 5 | yes | no |" in text
    assert "0 of 1 kills survived" in text
    assert "NOT identical" in text
    assert row["survived"] is False
    assert dataclasses.asdict(kill)["number"] == 1
