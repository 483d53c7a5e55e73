"""A whole training run by the command that users start, with its accuracy and speed."""

import json
import pathlib
import subprocess

import numpy as np

from tokenjax.data.sources import fashion_mnist
from tokenjax.device_check.findings import Findings, Skipped
from tokenjax.device_check.task import Task
from tokenjax.processes import train_command
from tokenjax.storage import read_json
from tokenjax.training.observation.metric_log import PERFORMANCE

TINY = (
    *("--config.steps=30", "--config.log_every_steps=10"),
    *("--config.model.depth=1", "--config.model.embed_dim=16"),
    "--config.model.num_heads=2",
)


def find(task: Task, findings: Findings) -> None:
    """Train, then read what the run says of itself.

    Raises: Skipped where the data are not there.
    """
    config = str(task.arguments["config"])
    if config.endswith(":fashion_mnist") and not _has_fashion_mnist():
        raise Skipped(
            "Fashion-MNIST is not there (Debian's package dataset-fashion-mnist)"
        )
    workdir = pathlib.Path(task.work) / "run"
    flags = [f"--config={config}", f"--workdir={workdir}", "--config.figures=False"]
    command = [*train_command(), *flags, *(TINY if task.tiny else ())]
    findings.add(config=config, command=command[1:])
    with findings.alone():  # the whole run is a measurement
        begun = findings.seconds()
        status = subprocess.run(command, stderr=subprocess.STDOUT).returncode
        seconds = findings.seconds() - begun
    if status:
        findings.fail(f"the run ended with status {status}; the log says why")
        return
    evaluation = read_json(workdir / "evaluation.json")
    lines = (workdir / PERFORMANCE).read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    steps = evaluation["step"]
    # The first rows compile; the median is of what follows.
    per_step = float(np.median([row["time/per_step"] for row in rows[1:] or rows]))
    findings.add(
        steps=steps,
        accuracy=evaluation["top1"],
        run_seconds=seconds,
        seconds_per_step=per_step,
        steps_per_second=1 / per_step,
        compile_seconds=sum(row.get("compilation/seconds", 0.0) for row in rows),
        event_files=[path.name for path in workdir.glob("events.out.*")],
    )
    findings.say(
        f"{100 * evaluation['top1']:.2f} % of {evaluation['split']} after {steps} "
        f"steps in {seconds:.0f} s, {1 / per_step:.0f} steps/s once compiled"
    )


def _has_fashion_mnist() -> bool:
    return (fashion_mnist.DEBIAN_DIRECTORY / "train-images-idx3-ubyte.gz").is_file()
