"""A state split over all devices trains as a whole one: losses, and where it lies."""

import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from tokenjax import experiment
from tokenjax.device_check.findings import Findings, Skipped
from tokenjax.device_check.task import Task
from tokenjax.training import default_config
from tokenjax.training.checkpoints import Checkpoints
from tokenjax.training.distribution import devices
from tokenjax.training.loop import Run

STEPS = 5
ROWS = 16  # of a batch, for each device
TOLERANCE = 1e-5
WIDTH = 128


def find(task: Task, findings: Findings) -> None:
    """Train both ways and compare the losses.

    Raises: Skipped with one device.
    """
    count = jax.device_count()
    if count == 1:
        raise Skipped("there is one device: a state cannot be split")
    jax.config.update("jax_default_matmul_precision", "highest")
    work = pathlib.Path(task.work)
    whole, losses = _train(work / "whole", fsdp=False)
    split, split_losses = _train(work / "split", fsdp=True)
    error = float(np.max(np.abs(np.subtract(split_losses, losses)) / np.abs(losses)))
    pieces = {"whole": _pieces(whole), "split": _pieces(split)}
    findings.add(devices=count, losses=losses, largest_error=error, pieces=pieces)
    if not error <= TOLERANCE:
        findings.fail(f"losses differ by {error:.1e}, more than {TOLERANCE:.0e}")
    if pieces != {"whole": [1], "split": [count]}:
        findings.fail(f"large arrays lie in other pieces than planned: {pieces}")
    findings.say(f"split over {count} devices: losses differ by {error:.1e}")


def _train(directory: pathlib.Path, fsdp: bool) -> tuple[Run, list[float]]:
    built = experiment.build(_config(fsdp))
    with Checkpoints(directory) as checkpoints:
        run = Run(built.settings, built.task, built.dataset, checkpoints)
        losses = []
        for batch in run.batches():
            run.state, scalars = run.train_step(run.state, batch)
            losses.append(float(scalars["loss"]))
    return run, losses


def _config(fsdp: bool) -> ConfigDict:
    config = default_config()
    sizes = {"patch_size": 8, "embed_dim": WIDTH, "depth": 1, "num_heads": 2}
    config.model = ConfigDict({"name": "vit", "mlp_ratio": 2.0, **sizes})
    config.data = ConfigDict({"source": "digits", "image_size": 16})
    config.batch_size, config.steps = ROWS * jax.device_count(), STEPS
    config.fsdp = fsdp
    return config


def _pieces(run: Run) -> list[int]:
    """Return into how many pieces the large arrays of a state are cut."""
    large = [x for x in jax.tree.leaves(run.state) if x.size >= devices.SPLIT_FROM]
    return sorted({x.size // x.addressable_data(0).size for x in large})
