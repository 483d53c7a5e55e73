"""Four devices train as one, and the state split over them is that of a whole one.

Run as a program, in a process of four devices, it trains both ways and compares.
"""

import json
import pathlib
import sys

import jax
import numpy as np
import pytest
from helpers import training_runs
from ml_collections import ConfigDict

from tokenjax import experiment
from tokenjax.training import default_config
from tokenjax.training.checkpoints import Checkpoints
from tokenjax.training.distribution import devices
from tokenjax.training.loop import Run

STEPS = 6
FOUR = "--xla_force_host_platform_device_count=4"


def config(fsdp: bool) -> ConfigDict:
    found = default_config()
    sizes = {"patch_size": 8, "embed_dim": 128, "depth": 1, "num_heads": 2}
    found.model = ConfigDict({"name": "vit", "mlp_ratio": 2.0, "dropout": 0.1, **sizes})
    found.data = ConfigDict({"source": "digits", "image_size": 16})
    found.batch_size, found.steps, found.fsdp = 32, STEPS, fsdp
    found.ema_decay, found.gradient_accumulation = 0.9, 2
    found.schedule.warmup_epochs = 0.1
    return found


def opened(directory: pathlib.Path, fsdp: bool) -> Run:
    """A run at its start, or where the directory's checkpoint stands."""
    built = experiment.build(config(fsdp))
    with Checkpoints(directory) as checkpoints:
        return Run(built.settings, built.task, built.dataset, checkpoints)


def trained(directory: pathlib.Path, fsdp: bool) -> tuple[Run, list[float]]:
    run, losses = opened(directory, fsdp), []
    for batch in run.batches():
        run.state, scalars = run.train_step(run.state, batch)
        losses.append(float(scalars["loss"]))
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(run.step, run.state, None)
    return run, losses


def pieces(run: Run) -> set[int]:
    """Into how many pieces the large arrays are cut that are as large as a kernel."""
    large = [x for x in jax.tree.leaves(run.state) if x.size >= devices.SPLIT_FROM]
    assert len(large) >= 16, "parameters, their averages and two moments of each"
    return {x.size // x.addressable_data(0).size for x in large}


def assert_same_arrays(ours: Run, theirs: Run) -> None:
    for mine, other in zip(
        jax.tree.leaves(ours.state), jax.tree.leaves(theirs.state), strict=True
    ):
        np.testing.assert_array_equal(mine, other)


def main(root: pathlib.Path) -> None:
    assert jax.device_count() == 4
    whole, expected = trained(root / "whole", False)
    split, losses = trained(root / "split", True)
    assert len(losses) == STEPS
    assert losses == pytest.approx(expected, rel=1e-5)
    validation = whole.validate()
    assert split.validate() == pytest.approx(validation, rel=1e-5)
    assert pieces(whole) == {1}
    assert pieces(split) == {4}

    # What was written one way is read the other way.
    joined, cut = opened(root / "split", False), opened(root / "whole", True)
    assert_same_arrays(joined, split)
    assert_same_arrays(cut, whole)
    assert pieces(joined) == {1}
    assert pieces(cut) == {4}
    found = {"losses": expected, "validation": validation}
    (root / "found.json").write_text(json.dumps(found))


def test_split_over_four_devices(tmp_path):
    tests = training_runs.REPOSITORY / "tests"
    finished = training_runs.run(
        *["tests/training/distribution/test_fsdp.py", tmp_path],
        timeout=600,
        XLA_FLAGS=FOUR,
        PYTHONPATH=f"{training_runs.REPOSITORY}:{tests}",
    )
    assert finished.returncode == 0, finished.stderr
    here = opened(tmp_path / "split", True)  # on this process's one device
    assert here.step == STEPS
    assert pieces(here) == {1}
    found = json.loads((tmp_path / "found.json").read_text())
    assert here.validate() == pytest.approx(found["validation"], rel=1e-5)
    one, losses = trained(tmp_path / "one", False)  # draws are the same on any number
    assert found["losses"] == pytest.approx(losses, rel=1e-5)
    assert found["validation"] == pytest.approx(one.validate(), rel=1e-5)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
