"""Two processes over loopback train, stop, go on and evaluate as one process does."""

import json
import os
import pathlib
import signal
import time

import pytest
from helpers import training_runs

from tokenjax.reliability.processes import RunningProcesses

# 359 images to test on, in batches of 64: the last one is uneven. JAX looks for signals
# once a second, so the run must be longer than that.
STEPS = 96
ARGUMENTS = [
    *training_runs.SMALL,
    training_runs.FIGURES,
    "--config.model.drop=0.1",
    "--config.ema_decay=0.9",
    f"--config.steps={STEPS}",
    "--config.log_every_steps=1",
    "--config.schedule.name=plateau",  # each learns of the evaluations
    "--config.schedule.patience=0",
    "--config.schedule.warmup_epochs=0.0",
]


def start(count: int, workdir: pathlib.Path) -> RunningProcesses:
    config = str(training_runs.REPOSITORY / "configs" / "vdpa.py")
    arguments = ["--config", config, "--workdir", str(workdir), *ARGUMENTS]
    log = workdir.with_name(f"{workdir.name}-log")
    return RunningProcesses(count, arguments, log, training_runs.environment())


def rows(workdir: pathlib.Path) -> list[dict]:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    found = [json.loads(line) for line in lines]
    return [{k: v for k, v in r.items() if "per_second" not in k} for r in found]


@pytest.mark.long
def test_two_processes_are_as_good_as_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    finished = start(1, one)
    assert finished.wait(600) == [0], finished.output()

    # SIGTERM to the second of them stops both after the same step, saved by both.
    cut = start(2, two)
    deadline = time.monotonic() + 600
    while cut.running() and not rows(two) and time.monotonic() < deadline:
        time.sleep(0.01)
    cut.signal(signal.SIGTERM, only=1)
    try:
        assert cut.wait(600) == [0, 0], cut.output()
    finally:
        cut.end()
    stopped = rows(two)[-1]["step"]
    assert stopped < STEPS, "the signal came too late to test anything"
    assert f"stopped and saved at step {stopped};" in cut.logs[0].read_text()
    assert "stopped" not in cut.logs[1].read_text(), "one of them speaks"
    assert (two / "checkpoints" / str(stopped)).is_dir()

    # The same command goes on from there, and all is as it was in one process.
    finished = start(2, two)
    try:
        assert finished.wait(600) == [0, 0], finished.output()
    finally:
        finished.end()
    expected, actual = rows(one), rows(two)
    assert [row["step"] for row in actual] == [row["step"] for row in expected]
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)
    summaries = [json.loads((w / "evaluation.json").read_text()) for w in (two, one)]
    for summary in summaries:
        assert summary["examples"] == sum(map(sum, summary["confusion_matrix"])) == 359
    ours, theirs = summaries
    assert ours.pop("loss") == pytest.approx(theirs.pop("loss"), rel=1e-5)
    for name, values in theirs.pop("model").items():
        assert ours["model"][name] == pytest.approx(values, rel=1e-5)
    del ours["model"]
    assert ours == theirs, "every other number is exact"
    for folder in ("figures", "looks"):  # the latter over both starts
        drawn = [sorted(os.listdir(w / folder)) for w in (two, one)]
        assert drawn[0] == drawn[1]
        assert len(drawn[0]) > 4


def test_nobody_else_comes(tmp_path):
    finished = training_runs.run(
        *["train.py", "--config", "configs/vdpa.py", "--workdir", tmp_path / "never"],
        "--config.distributed=True",
        "--config.cluster.coordinator_address=127.0.0.1:1",  # nobody listens there
        "--config.cluster.num_processes=2",
        "--config.cluster.process_id=1",
        "--config.cluster.join_seconds=2",
        own_process=True,  # this one has begun to compute
        timeout=600,
    )
    assert finished.returncode == 2
    said = finished.stderr.strip().splitlines()
    assert said[-1].startswith("error: process 1 of 2 cannot join the others at ")
    assert "within 2 s; start the same command on every host" in said[-1]
    assert not (tmp_path / "never").exists()
