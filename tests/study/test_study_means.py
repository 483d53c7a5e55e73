"""Means over a study's runs, of which some did not measure everything."""

import json

import pytest
from ml_collections import ConfigDict

from tokenjax import plots, tables
from tokenjax.study import compare, summary
from tokenjax.study.metrics import METRICS
from tokenjax.study.plan import StudyRun

NAN = float("nan")


def write_runs(root, variant, evaluations):
    runs = []
    for seed, evaluation in enumerate(evaluations):
        run = StudyRun("digits", variant, seed)
        directory = run.workdir(root)
        directory.mkdir(parents=True)
        (directory / "evaluation.json").write_text(json.dumps(evaluation))
        runs.append(run)
    return runs


def few(accuracy):
    return {"top1": 0.5, "shots": {"few": {"classes": 2, "accuracy": accuracy}}}


def make_study(columns, **more):
    return ConfigDict({"columns": columns, "latency_batch_size": 0} | more)


def test_a_mean_is_of_the_runs_that_measured_and_says_so(tmp_path):
    runs = write_runs(tmp_path, "a", [few(0.2), few(None), few(0.4), few(NAN)])
    columns = ("top1", "few", "mAP")
    found = summary._metrics(columns, runs, tmp_path)
    assert (found["few"], found["few_runs"]) == (pytest.approx(0.3), 2)
    assert found["few_std"] == pytest.approx(0.02**0.5)
    assert (found["top1"], found["top1_std"], found["top1_runs"]) == (0.5, 0.0, 4)
    assert (found["mAP"], found["mAP_std"], found["mAP_runs"]) == (None, None, 0)
    row = {"dataset": "digits", "variant": "a", **found}
    study = make_study(columns)
    table = tables.markdown([row], summary.columns_of(study)).splitlines()[2]
    assert table == "| digits | a | 50.00 ± 0.00 | 30.00 ± 14.14 (2 of 4 runs) | – |"


def test_one_run_has_no_spread(tmp_path):
    runs = write_runs(tmp_path, "a", [few(0.2)])
    found = summary._metrics(("few",), runs, tmp_path)
    assert (found["few"], found["few_std"]) == (0.2, None)
    assert METRICS["few"].show(found["few"], found["few_std"], 1, 1) == "20.00"


@pytest.mark.parametrize("name", [name for name in METRICS if name != "minutes"])
def test_a_metric_that_a_run_lacks_is_none(name):
    assert METRICS[name].value({}) is None
    assert METRICS[name].value({"log": {}, "model": {}, "shots": {}}) is None


def test_a_gradient_without_a_number_is_passed_over():
    log = {"gradient_norm_heads": [1.0, None, 3.0]}
    assert METRICS["gradient_heads"].value({"log": log}) == 2.0


def test_figures_without_what_was_not_measured(tmp_path, monkeypatch):
    drawn = []
    for name in ("accuracy_bars", "accuracy_over_latency", "accuracy_over_flops"):
        monkeypatch.setattr(
            plots, name, lambda rows, *_, of=name: drawn.append((of, rows)), False
        )
    cost = {"latency_ms": 1.0, "mflops": 2.0, "parameters": 3}
    rows = [
        {"dataset": "x", "variant": "a", "top1": 0.004, "top1_std": None, **cost},
        {"dataset": "x", "variant": "b", "top1": None, "top1_std": None, **cost},
        {"dataset": "y", "variant": "a", "top1": None, "top1_std": None, **cost},
    ]
    study = make_study(("top1",), datasets={"x": {}, "y": {}}, latency_batch_size=1)
    summary._figures(rows, study, tmp_path)
    bars = [(row["variant"], row["mean"], row["std"]) for row in drawn[0][1]]
    assert bars == [("a", 0.004, None), ("b", None, None), ("a", None, None)]
    assert [of for of, _ in drawn[1:]] == [
        "accuracy_over_latency",
        "accuracy_over_flops",
    ]
    assert all([row["name"] for row in rows] == ["a"] for _, rows in drawn[1:])
    drawn.clear()
    summary._figures(rows[1:], study, tmp_path)
    compare._figures([{"name": "a", "accuracy": None, **cost}], 1, tmp_path)
    assert not drawn
