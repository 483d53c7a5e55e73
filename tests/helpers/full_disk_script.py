"""Saves on a disk of 1 MB with little left; a line of JSON per case, for a test."""

import json
import pathlib
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from tokenjax import command_line
from tokenjax.errors import UserError
from tokenjax.training.checkpoints import Checkpoints
from tokenjax.training.observation.metric_log import MetricLog

DISK = pathlib.Path(sys.argv[1])
PAGE = 4096


def state(value):
    noise = np.random.default_rng(value).normal(size=50_000).astype(np.float32)
    return {"w": jnp.asarray(noise), "step": jnp.array(value)}


def tell(case, attempt):
    """Runs what must fail, and says what was left of it."""
    error = ""
    try:
        attempt()
    except UserError as caught:
        error = str(caught)
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    for thread in others:  # Orbax's may still be about to end
        thread.join(timeout=20)
    alive = [thread.name for thread in others if thread.is_alive()]
    threads = [name for name in alive if "store" not in name]  # an idle pool's
    if (DISK / "filler").exists():
        (DISK / "filler").unlink()
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with Checkpoints(DISK / "run", writable=case != "read-only") as checkpoints:
        restored = checkpoints.restore_last(state(0), sharding)
    assert np.array_equal(restored["w"], state(1)["w"])
    names = sorted(path.name for path in (DISK / "run/checkpoints").iterdir())
    about = {"restored": int(restored["step"]), "threads": threads, "names": names}
    print(json.dumps({"case": case, "error": error, **about}), flush=True)


def leave(pages):
    with open(DISK / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            file.truncate(file.tell() - pages * PAGE)


def save():
    with Checkpoints(DISK / "run") as checkpoints:
        checkpoints.save(2, state(2), 0.5)


def write_metrics():
    log = MetricLog(DISK / "run", 0)
    leave(0)
    try:
        for step in range(PAGE):
            log.write(step, {"train/loss": 1.0})
    finally:
        log.close()


logging.use_absl_handler()
logging.get_absl_handler().addFilter(command_line._Quiet())
sys.unraisablehook = command_line._without_closed_loops
with Checkpoints(DISK / "run") as first:
    first.save(1, state(1), 0.9)
for pages in (0, 18, 26, 44):  # of the 60 or so that a checkpoint takes
    leave(pages)
    tell(f"{pages} pages left", save)
tell("metrics", write_metrics)
subprocess.run(["mount", "-o", "remount,ro", DISK], check=True)
tell("read-only", save)
