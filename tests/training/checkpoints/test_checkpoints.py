"""Checkpoints: what is kept, what damage is found, what a restore gives back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.errors import CheckpointError
from tokenjax.training.checkpoints import Checkpoints, load_initial_variables
from tokenjax.training.initialize import check_variables
from tokenjax.training.observation.metric_log import MetricLog, history
from tokenjax.training.settings import Checkpoint


def state(value):
    return {"params": {"w": jnp.full((64, 8), value)}, "step": jnp.array(value)}


def sharding():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def test_the_best_and_the_newest_never_delete_each_other(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step, metric in enumerate([0.5, 0.9, 0.3, 0.2, 0.1], start=1):
            checkpoints.save(step, state(step), metric)
        checkpoints.save(6, state(6), None)  # a signal's, not evaluated
        checkpoints.wait()
        assert checkpoints.steps() == [2, 5, 6]
        assert checkpoints.pick("last") == 6
        assert checkpoints.pick("best") == 2
        restored = checkpoints.restore(2, state(0), sharding())
    np.testing.assert_array_equal(restored["params"]["w"], 2)
    kept = {path.stem for path in (tmp_path / "checkpoints/checksums").glob("*.json")}
    assert kept <= {"2", "5", "6"}
    assert "6" in kept


def test_one_that_was_not_evaluated_is_never_the_best(tmp_path):
    with Checkpoints(tmp_path, Checkpoint(keep=1)) as checkpoints:
        checkpoints.save(1, state(1), None)
        checkpoints.wait()
        assert checkpoints.pick("best") == 1, "there is no other"
        for step, metric in ((2, -3.0), (3, -5.0), (4, None), (5, -4.0), (6, None)):
            checkpoints.save(step, state(step), metric)
        checkpoints.wait()
        assert checkpoints.steps() == [2, 6]
        assert checkpoints.pick("best") == 2
    assert not (tmp_path / "checkpoints/6/metrics").exists()


def test_marks_of_an_earlier_format_are_read(tmp_path):
    """Format 1 had the metric -1 where a checkpoint was not evaluated."""
    with Checkpoints(tmp_path, Checkpoint(keep=3)) as checkpoints:
        for step, metric in ((1, -3.0), (2, -1.0), (3, -1.0)):
            checkpoints.save(step, state(step), metric)
        checkpoints.wait()
        assert checkpoints.pick("best") == 3, "in this format they are metrics"
    for step in (1, 2, 3):
        path = tmp_path / f"checkpoints/{step}/_CHECKPOINT_METADATA"
        metadata = json.loads(path.read_text())
        metadata["custom_metadata"]["tokenjax_format"] = 1
        path.write_text(json.dumps(metadata))
    with Checkpoints(tmp_path, Checkpoint(keep=1)) as checkpoints:
        assert checkpoints.pick("best") == 1
        checkpoints.save(4, state(4), -2.0)
        checkpoints.save(5, state(5), None)
        assert checkpoints.steps() == [4, 5]
        assert checkpoints.pick("best") == 4


def test_a_step_may_take_the_arrays_as_soon_as_save_returns(tmp_path):
    another = jax.jit(
        lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0
    )
    with Checkpoints(tmp_path, Checkpoint(keep=3)) as checkpoints:
        for step in (1, 2, 3):
            tree = state(step)
            checkpoints.save(step, tree, None)
            jax.block_until_ready(another(tree))
        for step in (1, 2, 3):
            restored = checkpoints.restore(step, state(0), sharding())
            np.testing.assert_array_equal(restored["params"]["w"], step)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_is_found(tmp_path, damage):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), 0.5)
    files = [p for p in (tmp_path / "checkpoints" / "1").rglob("d/*") if p.is_file()]
    victim = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif damage == "truncate":
        victim.write_bytes(content[: len(content) // 2])
    else:
        victim.unlink()
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match=r"is damaged: .*delete"),
    ):
        checkpoints.restore(1, state(0), sharding())


def test_another_models_checkpoint(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), 0.5)
        other = {"params": {"v": jnp.zeros(3)}, "step": jnp.array(0)}
        with pytest.raises(CheckpointError, match="cannot be read into this model"):
            checkpoints.restore(1, other, sharding())


def test_check_variables_lists_everything():
    expected = {"params": {"a": np.zeros(2), "b": np.zeros((2, 3))}}
    given = {"params": {"b": np.zeros((3, 2)), "c": np.zeros(1)}}
    with pytest.raises(CheckpointError) as caught:
        check_variables(expected, given)
    for part in ("missing: params/a", "unexpected: params/c", "params/b is (3, 2)"):
        assert part in str(caught.value)


def test_a_continued_log_drops_what_is_written_again(tmp_path):
    log = MetricLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step, {"train/loss": step / 10})
    log.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "train/lo')  # cut by a kill
    log = MetricLog(tmp_path, 2)
    log.write(3, {"train/loss": 9.0, "validation/top1": 0.5})
    log.close()
    assert [row["step"] for row in log.rows()] == [1, 2, 3]
    assert history(log.rows()) == {
        "train": {"step": [1, 2, 3], "loss": [0.1, 0.2, 9.0]},
        "validation": {"step": [3], "top1": [0.5]},
    }


def test_reading_and_writing_log_nothing(tmp_path, caplog):
    """As in a program of one's own: no command line keeps Orbax quiet there."""

    def whole(value):
        return state(value) | {"model_state": None}

    with caplog.at_level("WARNING", logger="absl"):
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, whole(1), 0.5)
            checkpoints.save(2, whole(2), None)
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.restore_last(whole(0), sharding())
        found = load_initial_variables(tmp_path, "last")
    np.testing.assert_array_equal(found["params"]["w"], 2)
    assert [record.getMessage() for record in caplog.records] == []
