"""A run with a trace, on a machine without TensorFlow."""

import gzip
import json

import pytest
from helpers import training_runs


@pytest.mark.long  # a run more, with the profiler
def test_a_traced_run(tmp_path):
    finished = training_runs.train_small(
        tmp_path,
        "--config.profile=True",
        "--config.observation.profile_steps=3",
        own_process=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stderr
    assert "compiled in the middle" not in finished.stderr
    assert "trace of steps 11 to 13: open" in finished.stdout
    (trace,) = (tmp_path / "profile").rglob("perfetto_trace.json.gz")
    with gzip.open(trace) as file:
        events = json.load(file)["traceEvents"]
    steps = [int(e["args"]["step_num"]) for e in events if e.get("name") == "train"]
    assert steps == [11, 12, 13]
    assert any(event.get("name") == "input_wait" for event in events)

    rows = [json.loads(line) for line in (tmp_path / "performance.jsonl").open()]
    assert rows[-1]["step"] == 24
    for row in rows:
        shares = [value for key, value in row.items() if key.startswith("time_share/")]
        assert abs(sum(shares) - 1) < 1e-6
        assert row["memory/host"] > 0
    assert rows[0]["compilation/count"] > 0
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["time"]["compute"]) == len(history["time_share"]["compute"])
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert not any(key.startswith("time") for row in metrics for key in row)
