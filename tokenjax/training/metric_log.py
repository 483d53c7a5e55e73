"""Where a run's numbers go: metrics.jsonl, TensorBoard through CLU, history.json.

metrics.jsonl has one row per logging, {"step": 20, "train/loss": ...}. It is the
record: TensorBoard is written beside it where TensorFlow is installed.
"""

import importlib.util
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from tokenjax import storage


class MetricLog:
    """The log of one run, continued where it was cut."""

    def __init__(self, workdir: pathlib.Path, start_step: int):
        """Drops rows beyond `start_step`: the resumed run writes them again."""
        self._writes = jax.process_index() == 0
        self._path = workdir / "metrics.jsonl"
        self._workdir = workdir
        self._rows = [
            row for row in _read_rows(self._path) if row["step"] <= start_step
        ]
        self._clu: Any = None
        if not self._writes:
            return
        with storage.replacing(self._path) as temporary:
            temporary.write_text("".join(json.dumps(r) + "\n" for r in self._rows))
        self._file = open(self._path, "a")  # noqa: SIM115 (open as long as the run)

    def start_tensorboard(self, config: dict, images: np.ndarray) -> None:
        """Opens CLU's writer (it imports TensorFlow for seconds) and describes the run.

        Args:
          config: nested dict of hyperparameters.
          images: (n, height, width, channels) in 0..1, shown at step 0.
        """
        if not self._writes or importlib.util.find_spec("tensorflow") is None:
            return
        from clu import metric_writers
        from tensorflow import config as tensorflow_config

        tensorflow_config.set_visible_devices([], "GPU")
        # Not create_default_writer: its second writer prints every row to the terminal.
        summary_writer = metric_writers.SummaryWriter(str(self._workdir))
        self._clu = metric_writers.AsyncWriter(summary_writer)
        self._clu.write_hparams(config)
        self._clu.write_images(0, {"augmented": images})

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Adds a row."""
        row = {"step": step, **{key: float(value) for key, value in scalars.items()}}
        self._rows.append(row)
        if not self._writes:
            return
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._clu is not None:
            self._clu.write_scalars(step, {k: v for k, v in row.items() if k != "step"})

    def rows(self) -> list[dict[str, float]]:
        """All rows of the run, earlier parts included."""
        return list(self._rows)

    def best(self, key: str) -> float:
        """The largest value of a scalar so far; -inf before the first."""
        return max((row[key] for row in self._rows if key in row), default=-math.inf)

    def close(self) -> None:
        """Writes history.json: per split, columns of equal length."""
        if not self._writes:
            return
        self._file.close()
        storage.write_json(self._workdir / "history.json", history(self._rows))
        if self._clu is not None:
            self._clu.flush()
            self._clu.close()


def history(rows: list[dict[str, float]]) -> dict[str, dict[str, list[float]]]:
    """{"train": {"step": [...], "loss": [...]}, "validation": {...}} from rows."""
    columns: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for split in dict.fromkeys(key.split("/")[0] for key in row if "/" in key):
            column = columns.setdefault(split, {"step": []})
            column["step"].append(row["step"])
            for key, value in row.items():
                if key.startswith(split + "/"):
                    column.setdefault(key.split("/", 1)[1], []).append(value)
    return columns


def _read_rows(path: pathlib.Path) -> list[dict[str, float]]:
    """Whole rows; a last line that a kill cut short is left out."""
    rows = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows
