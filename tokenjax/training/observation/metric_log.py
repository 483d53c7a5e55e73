"""Where a run's numbers go: metrics.jsonl, TensorBoard through CLU, history.json.

metrics.jsonl has one row per logging, {"step": 20, "train/loss": ...}. It is the
record: TensorBoard is written beside it where TensorFlow is installed. What the machine
made of the run, {"step": 20, "time/per_step": ...}, has rows of its own in
performance.jsonl: a run that is repeated repeats the former and not the latter. What
was not measured is in no row, and a value that is no finite number is null.
"""

import importlib.util
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from tokenjax import disk_errors, storage
from tokenjax.errors import first_line
from tokenjax.training.observation.progress import note, warn

Row = dict[str, Any]  # "step", an integer, and numbers by name, None where not finite
METRICS, PERFORMANCE = "metrics.jsonl", "performance.jsonl"
EVENTS = ("clu", "tensorflow", "tensorboard")  # what writes event files


class MetricLog:
    """The log of one run, continued where it was cut.

    Raises: UserError for a file that the disk refuses.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int):
        """Drop rows beyond `start_step`: the resumed run writes them again."""
        self.workdir = workdir
        self._writes = jax.process_index() == 0
        self._metrics = _Rows(workdir / METRICS, start_step, self._writes)
        self._performance = _Rows(workdir / PERFORMANCE, start_step, self._writes)
        self._clu: Any = None

    def start_tensorboard(self, config: dict, images: np.ndarray) -> None:
        """Open CLU's writer (it imports TensorFlow for seconds) and describe the run.

        Args:
          config: nested dict of hyperparameters.
          images: (n, height, width, channels) in 0..1, shown at step 0.
        """
        if not self._writes:
            return
        missing = [name for name in EVENTS if importlib.util.find_spec(name) is None]
        if missing:
            note(
                f"no event files for TensorBoard, {METRICS} has the same: "
                f"{', '.join(missing)} not installed"
            )
            return
        from clu import metric_writers
        from tensorflow import config as tensorflow_config

        tensorflow_config.set_visible_devices([], "GPU")
        # Not create_default_writer: its second writer prints every row to the terminal.
        summary_writer = metric_writers.SummaryWriter(str(self.workdir))
        self._clu = metric_writers.AsyncWriter(summary_writer)
        self._clu.write_hparams(config)
        self._clu.write_images(0, {"augmented": images})

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Add a row of what was learned."""
        self._add(self._metrics, step, scalars)

    def write_performance(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Add a row of what it took: time, memory, compilations."""
        self._add(self._performance, step, scalars)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Show images (n, height, width, channels), uint8 or 0..1, in TensorBoard."""
        self._to_tensorboard("write_images", step, images)

    def rows(self) -> list[Row]:
        """Return all rows of metrics.jsonl, earlier parts of the run included."""
        return list(self._metrics.rows)

    def best(self, key: str) -> float:
        """Return the largest value of a scalar so far; -inf before the first."""
        values = (row.get(key) for row in self.rows())
        return max((value for value in values if value is not None), default=-math.inf)

    def close(self) -> None:
        """Write history.json, as `history` makes it."""
        if not self._writes:
            return
        self._metrics.close()
        self._performance.close()
        columns = history(self._metrics.rows) | history(self._performance.rows)
        try:
            storage.write_json(self.workdir / "history.json", columns)
        except OSError as error:  # whatever ended the run shall be told, not this
            warn(f"{self.workdir / 'history.json'} not written: {error.strerror}")
        self._to_tensorboard("flush")
        self._to_tensorboard("close")

    def _add(self, file: "_Rows", step: int, scalars: Mapping[str, Any]) -> None:
        values = {key: float(value) for key, value in scalars.items()}
        file.add({"step": step, **storage.with_nulls(values)})
        self._to_tensorboard("write_scalars", step, values)

    def _to_tensorboard(self, method: str, *arguments: Any) -> None:
        """Call CLU's writer; the record is metrics.jsonl, so no failure ends a run."""
        if self._clu is None:
            return
        try:
            getattr(self._clu, method)(*arguments)
        except Exception as error:  # TensorFlow's own, from the writer's thread
            self._clu = None
            reason = first_line(error)
            warn(f"TensorBoard's events end here, {METRICS} goes on: {reason}")


class _Rows:
    """A file of JSON lines, and what it holds; rows beyond a step are dropped."""

    def __init__(self, path: pathlib.Path, start_step: int, writes: bool):
        self._path, self._writes = path, writes
        self.rows = [row for row in _read_rows(path) if row["step"] <= start_step]
        if not writes:
            return
        with disk_errors.said(path.parent):
            with storage.replacing(path) as temporary:
                text = "".join(json.dumps(row) + "\n" for row in self.rows)
                temporary.write_text(text, encoding="utf-8")
            # Open as long as the run.
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def add(self, row: Row) -> None:
        self.rows.append(row)
        if not self._writes:
            return
        with disk_errors.said(self._path):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # what was left to write after `add` had failed
            warn(f"{self._path} is not whole: {error.strerror}")


def history(rows: list[Row]) -> dict[str, dict[str, list[float | None]]]:
    """Return {"train": {"step": [...], "loss": [...]}, ...} from rows.

    The columns of a split are as long as its "step"; None where a row lacks the value.
    """
    columns: dict[str, dict[str, list[float | None]]] = {}
    for split in dict.fromkeys(
        k.split("/")[0] for row in rows for k in row if "/" in k
    ):
        start = split + "/"
        own = [row for row in rows if any(key.startswith(start) for key in row)]
        keys = dict.fromkeys(k for row in own for k in row if k.startswith(start))
        columns[split] = {"step": [row["step"] for row in own]}
        for key in keys:
            columns[split][key.removeprefix(start)] = [row.get(key) for row in own]
    return columns


def _read_rows(path: pathlib.Path) -> list[Row]:
    """Return whole rows; a last line that was cut is left out, others with a word."""
    rows, damaged = [], 0
    lines = (
        path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    )
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(storage.with_nulls(row))
        elif number < len(lines):
            damaged += 1
    if damaged:
        warn(f"{path}: {damaged} damaged of {len(lines)} lines left out")
    return rows
