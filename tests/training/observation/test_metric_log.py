"""The log of a run: what is no number in it, and columns of equal length."""

import json

import numpy as np
import pytest

from tokenjax.training.observation import metric_log

NAN = float("nan")


def refuse(constant):
    raise AssertionError(constant)


def read(path):
    lines = path.read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_a_value_that_is_no_number_is_null_also_when_resumed(tmp_path):
    log = metric_log.MetricLog(tmp_path, 0)
    log.write(1, {"train/loss": 2.0, "train/gradient_norm_fusion": NAN})
    log.write(1, {"validation/top1": NAN})
    assert log.best("validation/top1") == float("-inf")  # none so far
    log.write(2, {"validation/top1": 0.25})
    log.close()
    rows = read(tmp_path / metric_log.METRICS)
    assert rows[0] == {"step": 1, "train/loss": 2.0, "train/gradient_norm_fusion": None}
    assert rows[1] == {"step": 1, "validation/top1": None}
    resumed = metric_log.MetricLog(tmp_path, 2)
    assert resumed.rows() == rows == log.rows()
    assert resumed.best("validation/top1") == 0.25
    resumed.close()


def test_a_log_with_nan_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / metric_log.METRICS
    path.write_text('{"step": 1, "train/loss": NaN, "train/accuracy": 0.5}\n')
    metric_log.MetricLog(tmp_path, 1).close()
    assert read(path) == [{"step": 1, "train/loss": None, "train/accuracy": 0.5}]


def test_columns_are_as_long_as_their_steps():
    rows = [
        {"step": 1, "train/loss": 2.0},
        {"step": 1, "validation/top1": 0.1},
        {"step": 2, "train/loss": 1.0, "train/accuracy": 0.5},
        {"step": 2, "validation/top1": 0.2, "validation/target_recall": 0.9},
        {"step": 3, "train/loss": None},
    ]
    assert metric_log.history(rows) == {
        "train": {
            "step": [1, 2, 3],
            "loss": [2.0, 1.0, None],
            "accuracy": [None, 0.5, None],
        },
        "validation": {
            "step": [1, 2],
            "top1": [0.1, 0.2],
            "target_recall": [None, 0.9],
        },
    }


@pytest.mark.parametrize("missing", ["tensorflow", "clu", "tensorboard"])
def test_without_a_writer_of_events_it_says_so_once(
    tmp_path, monkeypatch, capsys, missing
):
    def find(name):
        return None if name == missing else object()

    monkeypatch.setattr(metric_log.importlib.util, "find_spec", find)
    log = metric_log.MetricLog(tmp_path, 0)
    log.start_tensorboard({}, np.zeros((1, 2, 2, 3)))
    log.write(1, {"loss": 0.5})
    log.close()
    said = capsys.readouterr().err
    assert said.count("no event files for TensorBoard") == 1
    assert f"{missing} not installed" in said
    assert "0.5" in (tmp_path / "metrics.jsonl").read_text()
