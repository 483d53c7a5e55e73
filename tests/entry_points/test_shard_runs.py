"""Runs on tar shards: cut, gone on with by processes, on shards that changed."""

import numpy as np
import pytest
from helpers.entry_points import run_in_process
from helpers.shard_sets import write_set
from helpers.training_runs import SMALL

from tokenjax.training.checkpoints import load_initial_variables


@pytest.mark.long  # test_reading_processes.py and test_resume.py hold its halves
def test_a_run_on_shards_goes_on_bit_identically(tmp_path):
    import jax

    shards = tmp_path / "shards"
    write_set(shards, {"train": [20, 13], "val": [6], "test": [6]})

    def train(workdir, *more):
        given = ["--config", "configs/vdpa.py", "--workdir", tmp_path / workdir]
        given += [
            "--config.data.source=tar_shards",
            f"--config.data.directory={shards}",
        ]
        given += ["--config.schedule.name=constant", "--config.batch_size=8"]
        given += [
            "--config.schedule.warmup_epochs=0",
            "--config.evaluate_every_epochs=9",
        ]
        return run_in_process("train", *given, *SMALL, *more)

    def parameters(workdir):
        return jax.tree.leaves(load_initial_variables(tmp_path / workdir, "last"))

    assert train("whole", "--config.steps=9").returncode == 0
    assert train("cut", "--config.steps=4").returncode == 0
    more = ["--config.steps=9", "--config.reading_processes=2"]
    done = train("cut", *more)
    assert done.returncode == 0, done.stderr
    for ours, theirs in zip(parameters("cut"), parameters("whole"), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    size = (shards / "train-0001.tar").stat().st_size
    write_set(shards, {"train": [20, 40], "val": [6], "test": [6]})
    done = train("cut", "--config.steps=12")
    assert done.returncode == 2
    assert f"train-0001.tar: {size} bytes before" in done.stderr
    assert "holds a run on other data (train: 33 examples, now 60; val" in done.stderr
