"""Damaged checkpoints: passed over and set aside, or refused; nothing is deleted."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.errors import CheckpointError
from tokenjax.training.checkpoints import (
    Checkpoints,
    load_initial_variables,
)


def state(value):
    params = {"w": jnp.full((8, 8), value)}
    return {"params": params, "model_state": None, "step": jnp.array(value)}


def sharding():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    with Checkpoints(workdir) as checkpoints:
        for step, metric in ((1, 0.9), (2, 0.1), (3, 0.2)):
            checkpoints.save(step, state(step), metric)
    return workdir


@pytest.fixture
def run(whole_run, tmp_path):
    shutil.copytree(whole_run, tmp_path / "run")
    return tmp_path / "run"


def names(run):
    return {path.name for path in (run / "checkpoints").iterdir()}


def flip(run, step):
    files = (run / "checkpoints" / str(step) / "state").rglob("d/*")
    victim = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)


def restore_last(run):
    with Checkpoints(run) as checkpoints:
        return int(checkpoints.restore_last(state(0), sharding())["step"])


def test_the_one_before_is_used_and_the_step_saved_again(run, capsys):
    flip(run, 3)
    with Checkpoints(run) as checkpoints:
        restored = checkpoints.restore_last(state(0), sharding())
        np.testing.assert_array_equal(restored["params"]["w"], 2)
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        for part in ("checkpoints/3 is damaged: state/", "checkpoints/2", "damaged-3"):
            assert part in said
        assert checkpoints.steps() == [1, 2]
        checkpoints.save(3, state(3), 0.2)
    aside = run / "checkpoints" / "damaged-3"
    assert (aside / "state").is_dir()
    assert (aside / "checksums.json").exists()
    assert restore_last(run) == 3
    assert capsys.readouterr().err == ""
    flip(run, 3)
    assert restore_last(run) == 2
    assert {"damaged-3", "damaged-3-2"} <= names(run)


DAMAGES = {
    "metric gone": ("3/metrics/metrics", None),
    "checksums cut short": ("checksums/3.json", '{"state/_METADATA": "4'),
    "checksums of nothing": ("checksums/3.json", "{}"),
    "metric is no JSON": ("3/metrics/metrics", "garbage"),
    "metric is no object": ("3/metrics/metrics", "3"),
    "metric raised": ("3/metrics/metrics", '{"best_metric": 0.99}'),
    "metadata is no JSON": ("3/_CHECKPOINT_METADATA", "garbage"),
    "metadata is no object": ("3/_CHECKPOINT_METADATA", "[]"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_small_files(run, capsys, name):
    path, content = DAMAGES[name]
    if content is None:
        (run / "checkpoints" / path).unlink()
    else:
        (run / "checkpoints" / path).write_text(content)
    with (
        Checkpoints(run, writable=False) as checkpoints,
        pytest.raises(CheckpointError, match=r"3 is damaged: .*whole are 1, 2"),
    ):
        checkpoints.restore_variables(3)
    assert restore_last(run) == 2
    assert "checkpoints/3 is damaged" in capsys.readouterr().err


def test_a_save_sets_aside_what_orbax_cannot_list(run, capsys):
    (run / "checkpoints/1/metrics/metrics").write_text("garbage")
    with Checkpoints(run) as checkpoints:
        checkpoints.save(4, state(4), 0.3)
        assert checkpoints.steps() == [3, 4]
        assert checkpoints.pick("best") == 4
    assert "damaged-1" in names(run)
    assert "checkpoints/1 is damaged" in capsys.readouterr().err


def test_nothing_whole_is_refused_and_left_alone(run):
    before = names(run)
    for step in (1, 2, 3):
        flip(run, step)
    with pytest.raises(CheckpointError) as caught:
        restore_last(run)
    for part in ("3 is damaged", "2 is damaged", "1 is damaged", "delete"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(run) == before
    with pytest.raises(CheckpointError, match="no other one is whole"):
        load_initial_variables(run, "last")


def test_another_models_checkpoint_is_not_damage(run):
    before = names(run)
    other = {**state(0), "params": {"v": jnp.zeros(3)}}
    with (
        Checkpoints(run) as checkpoints,
        pytest.raises(CheckpointError, match="cannot be read into this model"),
    ):
        checkpoints.restore_last(other, sharding())
    (run / "checkpoints/checksums/3.json").unlink()
    with (
        Checkpoints(run) as checkpoints,
        pytest.raises(CheckpointError, match="cannot be read into this model"),
    ):
        checkpoints.restore_last(other, sharding())
    assert names(run) == before


def test_without_checksums(run, capsys):
    """As tokenjax left it, once, when killed before they were written."""
    (run / "checkpoints/checksums/3.json").unlink()
    load_initial_variables(run, "last")
    assert "checkpoints/3 has no checksums" in capsys.readouterr().err
    assert restore_last(run) == 3
    assert "read unchecked" in capsys.readouterr().err
    assert restore_last(run) == 3  # they were written then
    assert capsys.readouterr().err == ""
    (run / "checkpoints/checksums/3.json").unlink()
    for path in (run / "checkpoints/3/state").rglob("manifest.ocdbt"):
        path.write_bytes(b"")
    assert restore_last(run) == 2
    assert "3 is damaged: Orbax cannot read it" in capsys.readouterr().err


def test_what_a_kill_leaves_is_cleared(run, capsys):
    root = run / "checkpoints"
    (root / "4.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    (root / "deleted").mkdir()
    shutil.copytree(root / "2", root / "deleted" / "2")
    (root / "checksums" / "4.json").write_text("{}")  # written before the rename
    assert restore_last(run) == 3
    assert names(run) == {"1", "2", "3", "checksums"}
    assert {path.stem for path in (root / "checksums").iterdir()} == {"1", "2", "3"}
    assert capsys.readouterr().err == ""


def test_the_format_is_versioned(run, capsys):
    path = run / "checkpoints/3/_CHECKPOINT_METADATA"
    metadata = json.loads(path.read_text())
    assert metadata["custom_metadata"] == {"tokenjax_format": 2}
    path.write_text(json.dumps({**metadata, "custom_metadata": {}}))
    assert restore_last(run) == 3  # of before there were numbers
    newer = {**metadata, "custom_metadata": {"tokenjax_format": 3}}
    path.write_text(json.dumps(newer))
    for read in (restore_last, load_initial_variables):
        with pytest.raises(CheckpointError, match="format 3, this tokenjax reads up"):
            read(run) if read is restore_last else read(run, "last")
    assert "damaged-3" not in names(run)
    assert capsys.readouterr().err == ""


def test_the_best_is_not_guessed_past_damage(run):
    (run / "checkpoints/1/metrics/metrics").write_text('{"best_metric": 0.05}')
    with pytest.raises(CheckpointError, match=r"1 is damaged: .*whole are 2, 3"):
        load_initial_variables(run, "best")
    assert load_initial_variables(run, "last")["params"]["w"][0, 0] == 3
