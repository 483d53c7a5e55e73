"""One command for studies and ablations: what it takes a configuration for."""

import pathlib
import sys

import pytest
from absl import flags
from ml_collections import ConfigDict

from tokenjax.config_files import load_config
from tokenjax.errors import UserError
from tokenjax.study import command, compare, summary
from tokenjax.training.run_lock import RunLock


@pytest.fixture
def started(monkeypatch):
    """What would be run."""
    calls = []
    monkeypatch.setattr(command, "run_study", lambda *given: calls.append(given))
    monkeypatch.setattr(command.command_line, "enable_compilation_cache", lambda: None)
    return calls


def run(*arguments):
    values, argv = flags.FlagValues(), ["study", *map(str, arguments)]
    command.define_flags(argv, values)
    values(argv)
    command.main(argv, values)


def test_a_study(started):
    run("--config=configs/study_vdpa.py")
    study, root, jobs, only, again = started[0]
    assert "recorded" in study.variants
    assert (root, jobs, only) == (pathlib.Path("runs/study_vdpa-default"), 2, "")
    assert again[:3] == [sys.executable, "-m", "tokenjax"]


def test_an_ablation_of_a_training_configuration(started):
    run("--config=configs/routing.py:cifar10", "--config.seed=7", "--run=a/b/0")
    study, root, jobs, only, again = started[0]
    assert study.reference == "base"
    assert study.datasets[next(iter(study.datasets))].seed == 7
    assert root == pathlib.Path("runs/routing-cifar10-ablation")
    assert (jobs, only) == (1, "a/b/0")
    assert again[3:] == [
        "study",
        *("--config=configs/routing.py:cifar10", "--config.seed=7", "--run=a/b/0"),
    ]


def test_what_is_given_counts(started, tmp_path):
    run("--config=configs/routing.py", f"--workdir={tmp_path}", "--jobs=3")
    _, root, jobs, *_ = started[0]
    assert (root, jobs) == (tmp_path, 3)


def test_a_study_that_is_going_on(tmp_path):
    study = load_config("configs/study_vdpa.py")
    before = ["python", "-c", "raise SystemExit(1)"]
    with RunLock(tmp_path), pytest.raises(UserError, match="a run is going on there"):
        command.run_study(study, tmp_path, 1, "", before)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_neither(started):
    with pytest.raises(UserError, match="there is no section ablation"):
        run("--config=configs/vdpa.py")
    assert not started


def row(variant, **changes):
    cost = {"parameters": 1234, "mflops": 5.678, "latency_ms": 2.0}
    cost |= {"images_per_second": 500.4, "latency_ratio": 1.0}
    known = {"top1": 0.5, "top1_std": 0.01, "minutes": None, "minutes_std": None}
    return {"dataset": "digits", "variant": variant, **cost, **known, **changes}


def test_the_table_of_a_study():
    study = ConfigDict(
        {"columns": ("top1", "minutes"), "latency_batch_size": 8, "reference": "a"}
    )
    rows = [row("a"), row("b", top1_std=None)]
    table = summary.tables.markdown(rows, summary.columns_of(study))
    assert table.splitlines() == [
        "| dataset | variant | test accuracy, % | minutes | parameters "
        "| MFLOPs per image | latency at batch 8, ms | images/s | × latency of a |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| digits | a | 50.00 ± 1.00 | – | 1,234 | 5.68 | 2.00 | 500 | 1.00 |",
        "| digits | b | 50.00 | – | 1,234 | 5.68 | 2.00 | 500 | 1.00 |",
    ]
    study.latency_batch_size = 0
    table = summary.tables.markdown(rows, summary.columns_of(study))
    assert table.splitlines()[2] == "| digits | a | 50.00 ± 1.00 | – |"


def test_the_table_of_runs_side_by_side():
    point = row("a", name="routed", accuracy=0.875, routing_ratio=0.25)
    table = compare.tables.markdown([point | {"target_recall": None}], compare.COLUMNS)
    assert table.splitlines()[2] == (
        "| routed | 87.50 | 25.00 | – | 5.68 | 1,234 | 2.00 | 500 |"
    )
