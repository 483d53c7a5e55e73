"""Rows of the benchmark as a table for the terminal and as CSV.

FLOPs are given per image and latency per batch, whatever the batch size.
"""

import csv
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax

from tokenjax import storage
from tokenjax.benchmark import hardware
from tokenjax.benchmark.measure import Row


class Column(NamedTuple):
    """A heading, the value of a row under it, and its format in the terminal.

    A value of None is "-" in the terminal and empty in a CSV.
    """

    heading: str
    value: Callable[[Any], str | int | float | None]
    form: str


def _latency(name: str, factor: float = 1e3) -> Callable[[Any], float | None]:
    return lambda row: row.latency and getattr(row.latency, name) * factor


def _per_image(unit: float) -> Callable[[Any], float | None]:
    return lambda row: row.flops and row.flops / row.batch_size / unit


COLUMNS = (
    Column("Model", lambda row: row.model, "s"),
    Column("Params(M)", lambda row: row.parameters and row.parameters / 1e6, ".2f"),
    Column("Batch", lambda row: row.batch_size, "d"),
    Column("GFLOPs", _per_image(1e9), ".3f"),
    Column("GMACs", _per_image(2e9), ".3f"),
    Column("Latency_mean(ms)", _latency("mean"), ".2f"),
    Column("Latency_median(ms)", _latency("median"), ".2f"),
    Column("Latency_std(ms)", _latency("std"), ".2f"),
    Column("Latency_p90(ms)", _latency("p90"), ".2f"),
    Column("Images/s", lambda row: row.images_per_second, ".1f"),
    Column("Memory(MiB)", lambda row: row.memory and row.memory.bytes / 2**20, ".1f"),
    Column("Compile(s)", _latency("compile_seconds", 1.0), ".2f"),
    Column("Dtype", lambda row: row.dtype, "s"),
    Column("Device", lambda row: row.device, "s"),
)
PEAK = Column("Peak(%)", lambda row: row.utilization and 100 * row.utilization, ".1f")
MODE = Column("Mode", lambda row: row.mode, "s")
PROBLEM = Column("Problem", lambda row: row.problem, "s")


def columns_for(rows: Sequence[Row]) -> list[Column]:
    """COLUMNS, and those that say something of these rows alone."""
    columns = list(COLUMNS)
    if any(row.utilization for row in rows):
        columns.append(PEAK)
    if any(row.mode != rows[0].mode or row.mode != "inference" for row in rows):
        columns.append(MODE)
    if any(row.problem for row in rows):
        columns.append(PROBLEM)
    return columns


def columns_of_the_original(rows: Sequence[Row]) -> list[Column]:
    """The CSV's last columns, named as those of VDPA's own benchmark.

    A row has the latency at its own precision, and that of the same model and batch in
    bfloat16, if measured. FLOPs are ours: 2 per multiply-add.
    """
    half = {
        (row.model, row.batch_size, row.mode): row
        for row in rows
        if row.dtype == "bfloat16"
    }

    def single(name: str) -> Callable[[Any], float | None]:
        return lambda row: _latency(name)(row) if row.dtype == "float32" else None

    def mixed(row: Row) -> float | None:
        same = half.get((row.model, row.batch_size, row.mode))
        return _latency("median")(same) if same else None

    sides = {side for row in rows if (side := image_side(row))}
    square = f"@{sides.pop()}^2" if len(sides) == 1 else ""
    return [
        Column("Latency_FP32_mean(ms)", single("mean"), ".2f"),
        Column("Latency_FP32_median(ms)", single("median"), ".2f"),
        Column("Latency_FP32_std(ms)", single("std"), ".2f"),
        Column("Latency_AMP_median(ms)", mixed, ".2f"),
        *([Column(f"GFLOPs{square}", _per_image(1e9), ".3f")] if square else []),
    ]


def image_side(row: Row) -> int | None:
    """Pixels of the square images that a row was measured with, None for others."""
    found = re.match(r"\d+x(\d+)x(\d+)x\d+", row.inputs)
    return int(found[1]) if found and found[1] == found[2] else None


def chosen_columns(*headings: str) -> list[Column]:
    """Columns of COLUMNS by their headings, in the order given."""
    by_heading = {column.heading: column for column in COLUMNS}
    return [by_heading[heading] for heading in headings]


def format_table(
    rows: Sequence[Row],
    warmup: int,
    columns: Sequence[Column] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The table, and under it how its numbers were found.

    Units are removed from the cells into the headings; text is aligned left, numbers
    right. `warmup` is the number of untimed calls, for the note; `notes` are lines to
    put before it.
    """
    columns = columns_for(rows) if columns is None else columns
    lines = format_rows(rows, columns)
    headings = [column.heading for column in columns]
    found = _notes(rows, warmup, "Memory(MiB)" in headings)
    return "\n".join([*lines, "", *notes, *found])


def format_rows(rows: Sequence[Any], columns: Sequence[Column]) -> list[str]:
    """The lines of the table alone: headings, a rule, and one for each row."""
    cells = [[_cell(column, row) for column in columns] for row in rows]
    headings = [column.heading for column in columns]
    widths = [max(map(len, group)) for group in zip(headings, *cells, strict=True)]
    lines = [_line(headings, widths, columns)]
    lines.append("  ".join("-" * width for width in widths))
    return lines + [_line(row, widths, columns) for row in cells]


def _cell(column: Column, row: Row) -> str:
    value = column.value(row)
    return "-" if value is None else format(value, column.form)


def _line(
    cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]
) -> str:
    padded = [
        cell.ljust(width) if column.form == "s" else cell.rjust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _notes(rows: Sequence[Row], warmup: int, with_memory: bool) -> list[str]:
    repeats = sorted({row.latency.repeats for row in rows if row.latency})
    calls = "-".join(map(str, {repeats[0]: 0, repeats[-1]: 0})) if repeats else "no"
    sizes = dict.fromkeys(f"{row.model} {row.inputs}" for row in rows if row.inputs)
    methods = dict.fromkeys(row.memory.method for row in rows if row.memory)
    peak = any(row.utilization for row in rows)
    return [
        "FLOPs: 2 per multiply-add, per image, products and convolutions only; "
        f"latency: one batch, {calls} calls after at most {warmup} to warm up, "
        "compilation excluded.",
        f"Inputs: {'; '.join(sizes)}.",
        *([f"Memory: {'; '.join(methods)}."] if with_memory and methods else []),
        *(["Peak: of the device's dense products, by its data sheet."] if peak else []),
        f"Hardware: {hardware.describe()}; jax {jax.__version__}.",
    ]


def write_csv(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    columns: Sequence[Column] | None = None,
) -> None:
    """Writes the columns of the table, numbers to six digits, replacing the file whole.

    Raises:
      OSError: the directory does not exist or cannot be written.
    """
    path, rows = pathlib.Path(path), list(rows)
    if columns is None:
        columns = [*COLUMNS, PEAK, MODE, PROBLEM, *columns_of_the_original(rows)]
    with storage.replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(column.heading for column in columns)
        for row in rows:
            writer.writerow(_plain(column.value(row)) for column in columns)


def _plain(value: str | int | float | None) -> str | int | None:
    return f"{value:.6g}" if isinstance(value, float) else value
