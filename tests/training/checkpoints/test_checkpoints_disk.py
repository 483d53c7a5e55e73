"""A disk that is full, read-only or gone: one sentence, and the last checkpoint whole.

A small tmpfs is mounted in a namespace of its own (`unshare -rm`), which needs no root
where the system allows it.
"""

import contextlib
import functools
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from helpers import training_runs

from tokenjax import disk_errors
from tokenjax.errors import CheckpointError, UserError
from tokenjax.training.checkpoints import Checkpoints
from tokenjax.training.observation.metric_log import MetricLog

SCRIPT = pathlib.Path(__file__).parents[2] / "helpers" / "full_disk_script.py"


@functools.cache
def no_small_disk() -> str:
    """Why no tmpfs can be mounted here; empty if one can."""
    if not shutil.which("unshare"):
        return "there is no unshare here, to mount a small disk with"
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    tried = subprocess.run(trial, capture_output=True, text=True)
    return f"no small disk can be mounted: {tried.stderr}" if tried.returncode else ""


@pytest.fixture
def on_a_small_disk(tmp_path):
    """Runs a shell command that may mount over "$DISK"; returns what it printed."""
    if reason := no_small_disk():
        pytest.skip(reason)
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", command],
            env=training_runs.environment(DISK=str(disk)),
            cwd=training_runs.REPOSITORY,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


def state(value):
    return {"w": jnp.full(8, value), "step": jnp.array(value)}


def sharding():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def test_full_and_read_only(on_a_small_disk):
    mount = "mount -t tmpfs -o size=1m none $DISK"
    finished = on_a_small_disk(f"{mount} && exec {sys.executable} {SCRIPT} $DISK")
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    rows = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(rows) == 6
    for row in rows:
        full = "no space is left on the disk; make room"
        wanted = "is read-only" if row["case"] == "read-only" else full
        assert wanted in row["error"], row
        assert row["restored"] == 1, row
        assert row["threads"] == [], row
    # What tensorstore's threads write after the failure is cleared by the next start.
    assert all(set(row["names"]) == {"1", "checksums"} for row in rows)


@pytest.mark.long  # test_full_and_read_only holds what saves to it
def test_train_on_a_full_disk(on_a_small_disk):
    flags = ["--config", "configs/vdpa.py", "--workdir", "$DISK/run"]
    train = " ".join(training_runs.command("train.py", *flags, *training_runs.SMALL))
    finished = on_a_small_disk(
        f"mount -t tmpfs -o size=500k none $DISK; {train}; echo status $?; "
        f"mount -o remount,size=64m $DISK; ls $DISK/run/checkpoints; "
        f"{train}; echo status $?; tail -1 $DISK/run/metrics.jsonl"
    )
    assert "Traceback" not in finished.stderr
    errors = [x for x in finished.stderr.splitlines() if x.startswith("error:")]
    assert len(errors) == 1, finished.stderr
    assert "no space is left on the disk" in errors[0]
    first, second = finished.stdout.split("status 2\n")
    assert "test:" not in first
    assert "status 0" in second
    kept = second.splitlines()[: second.splitlines().index("checksums")]
    assert kept
    assert all(name.isdecimal() for name in kept)
    assert json.loads(second.splitlines()[-1])["step"] == 24


def test_a_directory_that_goes_during_the_run(tmp_path):
    with Checkpoints(tmp_path / "run") as checkpoints:
        log = MetricLog(tmp_path / "run", 0)
        checkpoints.save(1, state(1), None)
        checkpoints.wait()
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(CheckpointError, match="checkpoints was deleted or moved"):
            checkpoints.save(2, state(2), None)
        with pytest.raises(UserError, match=r"metrics.jsonl was deleted or moved"):
            log.write(2, {"train/loss": 1.0})
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_directory_that_goes_during_a_save(tmp_path):
    def save_and_move():
        with Checkpoints(tmp_path / "run") as checkpoints:
            checkpoints.save(1, state(1), None)
            (tmp_path / "run").rename(tmp_path / "moved")

    with pytest.raises(CheckpointError, match=r"deleted|could not be saved"):
        save_and_move()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_that_go_during_a_save(tmp_path):
    """It is said, at the save or at the latest by who reads; Orbax may win the race."""
    with (
        contextlib.suppress(CheckpointError),
        Checkpoints(tmp_path / "run") as checkpoints,
    ):
        checkpoints.save(1, state(1), None)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    with Checkpoints(tmp_path / "run") as checkpoints:
        try:
            restored = checkpoints.restore_last(state(0), sharding())
        except CheckpointError:  # some of its files had gone
            restored = None
        assert restored is None or int(restored["step"]) == 1


def test_the_first_trouble_is_told(tmp_path):
    def stop_and_stumble():
        with disk_errors.said(tmp_path):
            try:
                raise CheckpointError("the first")
            finally:
                open(tmp_path / "nowhere" / "history.json", "w")  # noqa: SIM115

    with pytest.raises(CheckpointError, match="the first"):
        stop_and_stumble()


def test_other_errors_stay_bugs():
    with pytest.raises(KeyError), disk_errors.said():
        raise KeyError("a bug")
    quoted = RuntimeError("RESOURCE_EXHAUSTED: x; No space left on device")
    with pytest.raises(UserError, match="no space is left"), disk_errors.said():
        raise ValueError("a save failed") from quoted
