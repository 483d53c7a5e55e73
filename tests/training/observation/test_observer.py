"""What a run says of its own running, put together; and where it is written."""

import dataclasses
import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.errors import UserError
from tokenjax.training.observation.metric_log import MetricLog
from tokenjax.training.observation.observer import Observer
from tokenjax.training.observation.progress import Progress
from tokenjax.training.settings import Observation, Settings
from tokenjax.training.workdir import claim_workdir, compare_workdir


@jax.jit
def train_step(state, batch):
    return state + batch.sum(), {"loss": batch.mean()}


def steps(observer, batches, count, log_at=()):
    """The loop in small; returns the rows asked for."""
    state, rows = jnp.zeros(()), []
    for step in range(1, count + 1):
        with observer.step(step):
            batch = observer.next_batch(batches)
            state, scalars = train_step(state, batch)
        observer.dispatched(scalars)
        if step == 1:
            jax.block_until_ready(scalars)
            observer.first_step()
        if step in log_at:
            jax.block_until_ready(scalars)
            rows.append(observer.row())
            with observer.part("logging"):
                pass
    observer.close()
    return rows


def test_rows_and_a_batch_of_another_shape(tmp_path, capsys):
    sizes = [8, 8, 8, 8, 6, 8]
    batches = iter([np.ones((size, 2), np.float32) for size in sizes])
    before = threading.active_count()
    observer = Observer(Settings(), tmp_path, 0)
    rows = steps(observer, batches, 6, log_at=(1, 3, 6))
    assert threading.active_count() == before
    assert "time/per_step" not in rows[0], "the first step is compilation"
    assert rows[0]["memory/host"] > 10
    for row in rows[1:]:
        shares = [value for key, value in row.items() if key.startswith("time_share/")]
        assert sum(shares) == pytest.approx(1)
        assert row["memory/host_peak"] > 10
    assert rows[1]["compilation/count"] == 0
    assert rows[2]["compilation/count"] == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 1, said
    assert "step 5: jit(train_step) was compiled in the middle" in said[0]


def test_a_standing_input_is_said_while_it_stands(tmp_path, capsys):
    own = Observation(stalled_seconds=0.5)
    released = threading.Event()

    batch = np.ones((8, 2), np.float32)

    def slow():
        yield batch
        released.wait(60)
        yield batch

    observer = Observer(Settings(observation=own), tmp_path, 0)
    said = []
    warn = observer._input._warn

    def release(sentence):
        warn(sentence)
        said.append(sentence)
        released.set()

    observer._input._warn = release
    steps(observer, slow(), 2)
    assert len(said) == 1
    error = capsys.readouterr().err
    assert "warning: no batch for step 2 in 0.5 s from the source 'digits'" in error


def test_profiling_may_be_switched_on_later(tmp_path):
    before = dataclasses.asdict(Settings())
    del before["profile"], before["observation"]  # an older version's
    claim_workdir(tmp_path, before)
    after = Settings(profile=True, observation=Observation(profile_after=0))
    earlier = compare_workdir(tmp_path, dataclasses.asdict(after))
    assert earlier is not None
    assert "profile" not in earlier


@pytest.mark.parametrize(
    "wrong", [{"profile_steps": 0}, {"profile_after": -1}, {"stalled_seconds": -1.0}]
)
def test_settings_out_of_range(wrong):
    (name,) = wrong
    config = dataclasses.asdict(Settings()) | {"observation": wrong}
    with pytest.raises(UserError, match=f"observation.{name} must be at least"):
        Settings.from_config(config)


def test_performance_has_a_file_of_its_own(tmp_path):
    log = MetricLog(tmp_path, 0)
    for step in (1, 2):
        log.write_performance(step, {"time/per_step": step / 10, "memory/host": 1.0})
        log.write(step, {"train/loss": 0.5})
    log.close()
    assert log.rows() == [{"step": step, "train/loss": 0.5} for step in (1, 2)]
    lines = (tmp_path / "performance.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"step": 2, "time/per_step": 0.2, "memory/host": 1.0}
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["train"] == {"step": [1, 2], "loss": [0.5, 0.5]}
    assert history["time"] == {"step": [1, 2], "per_step": [0.1, 0.2]}
    log = MetricLog(tmp_path, 1)  # resumed
    log.close()
    assert len((tmp_path / "performance.jsonl").read_text().splitlines()) == 1


def test_damaged_lines_are_left_out_and_said(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_bytes(
        b'{"step": 1, "train/loss": 2.0}\n'
        b'{"step": 2, "tr\xff\xfe\n'
        b"[3]\n"
        b'{"step": 3, "train/loss": 1.0}\n'
        b'{"step": 4, "trai'
    )
    log = MetricLog(tmp_path, 10)
    log.close()
    assert [row["step"] for row in log.rows()] == [1, 3]
    assert "2 damaged of 5 lines left out" in capsys.readouterr().err


def test_tensorboard_may_fail(tmp_path, capsys):
    class Full:
        def write_scalars(self, *_):
            raise RuntimeError("No space left on device")

    log = MetricLog(tmp_path, 0)
    log._clu = Full()
    for step in (1, 2):
        log.write(step, {"train/loss": 0.5})
    log.close()
    assert len(log.rows()) == 2
    error = capsys.readouterr().err
    assert error.count("TensorBoard's events end here") == 1
    assert "No space left" in error


def test_the_bar_shows_a_high_input_share(capsys):
    row = {"loss": 1.0, "learning_rate": 0.1}
    shown = {}
    for share in (0.02, 0.42):
        progress = Progress(0, 2)
        progress.update(1, row, None, share)
        progress.close()
        shown[share] = capsys.readouterr().err
    assert "42% waiting for data" in shown[0.42]
    assert "waiting" not in shown[0.02]
