"""Trains until performance.jsonl holds enough rows, then stops the run politely.

The real program in a process of its own: nothing of it is imitated. It is told to log
every `interval` steps and to save every second time, so that intervals with and without
a save take turns and whatever else the machine does hits both alike.
"""

import json
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from tokenjax import config_files, data
from tokenjax.errors import UserError
from tokenjax.processes import train_command
from tokenjax.written_arguments import read_value

PATIENCE_SECONDS = 300.0  # for a run to save and end once it is told to


class Plan(NamedTuple):
    """How long to run.

    Attributes:
      interval: steps between rows.
      pairs: of intervals, one without and one with a save.
      overrides: of the configuration, as "model.depth=2".
    """

    interval: int = 100
    pairs: int = 10
    overrides: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return how many rows: one to warm up, and two for each pair."""
        return 1 + 2 * self.pairs


def load_config(spec: str, overrides: Sequence[str]) -> ConfigDict:
    """Read the configuration configs/NAME.py[:variant] and change it.

    Raises: UserError for one that is not there, or an override that does not fit.
    """
    config = config_files.load_config(spec)
    for override in overrides:
        key, equals, text = override.partition("=")
        value = read_value(text)
        if not equals:
            raise UserError(f"--override takes key=value, got {override!r}")
        try:
            config.update_from_flattened_dict({key: value})
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"--override {override}: {error}") from error
    return config


def command(spec: str, workdir: pathlib.Path, plan: Plan) -> list[str]:
    """Return the command that trains with the settings of the plan.

    They are in steps; where a setting asks for epochs, they are turned into those.
    """
    config = load_config(spec, plan.overrides)
    examples = len(data.load(config.data).train)
    every = 2 * plan.interval * config.batch_size / examples
    settings = {
        "steps": 100 * plan.interval * plan.rows,  # it is stopped long before
        "log_every_steps": plan.interval,
        "checkpoint.every_epochs": every,
        "evaluate_every_epochs": 1e9,
    }
    return [
        *train_command(),
        f"--config={spec}",
        f"--workdir={workdir}",
        *(f"--config.{override}" for override in plan.overrides),
        *(f"--config.{key}={value!r}" for key, value in settings.items()),
    ]


def run(
    spec: str, workdir: pathlib.Path, plan: Plan, on_row: Callable[[], object]
) -> list[dict[str, float]]:
    """Return the rows of a run, the one of warming up left out.

    Args:
      spec: configs/NAME.py[:variant].
      workdir: a new directory.
      plan: how long.
      on_row: called for every row.

    Raises: UserError if the run ends before it has logged enough.
    """
    workdir.mkdir(parents=True)
    output = workdir / "output.txt"
    with open(output, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command(spec, workdir, plan), stdout=file, stderr=file
        )
    try:
        seen = 0
        while seen < plan.rows and process.poll() is None:
            time.sleep(0.2)
            now = min(len(_rows(workdir)), plan.rows)
            for _ in range(now - seen):
                on_row()
            seen = now
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    rows = _rows(workdir)[: plan.rows]
    if len(rows) < plan.rows:
        said = output.read_text("utf-8", errors="replace").strip().splitlines() or [
            "nothing"
        ]
        raise UserError(f"{spec} ended too early; it said last: {said[-1]}")
    return rows[1:]


def _rows(workdir: pathlib.Path) -> list[dict[str, float]]:
    path = workdir / "performance.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
