"""Rows of the benchmark as a table for the terminal and as CSV.

FLOPs are given per image and latency per batch, whatever the batch size.
"""

import csv
import os
import pathlib
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
    value: Callable[[Row], str | int | float | None]
    form: str


COLUMNS = (
    Column("Model", lambda row: row.model, "s"),
    Column("Params(M)", lambda row: row.parameters / 1e6, ".2f"),
    Column("Batch", lambda row: row.batch_size, "d"),
    Column("GFLOPs", lambda row: row.flops / row.batch_size / 1e9, ".3f"),
    Column("GMACs", lambda row: row.flops / row.batch_size / 2e9, ".3f"),
    Column("Latency_mean(ms)", lambda row: row.latency.mean * 1e3, ".2f"),
    Column("Latency_median(ms)", lambda row: row.latency.median * 1e3, ".2f"),
    Column("Latency_std(ms)", lambda row: row.latency.std * 1e3, ".2f"),
    Column("Latency_p90(ms)", lambda row: row.latency.p90 * 1e3, ".2f"),
    Column("Images/s", lambda row: row.images_per_second, ".1f"),
    Column("Memory(MiB)", lambda row: row.memory.bytes / 2**20, ".1f"),
    Column("Compile(s)", lambda row: row.latency.compile_seconds, ".2f"),
    Column("Dtype", lambda row: row.dtype, "s"),
    Column("Device", lambda row: row.device, "s"),
)


def chosen_columns(*headings: str) -> list[Column]:
    """Columns of COLUMNS by their headings, in the order given."""
    by_heading = {column.heading: column for column in COLUMNS}
    return [by_heading[heading] for heading in headings]


def format_table(
    rows: Sequence[Row],
    warmup: int,
    columns: Sequence[Column] = COLUMNS,
    notes: Sequence[str] = (),
) -> str:
    """The table, and under it how its numbers were found.

    Units are removed from the cells into the headings; text is aligned left, numbers
    right. `warmup` is the number of untimed calls, for the note; `notes` are lines to
    put before it.
    """
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
    repeats = sorted({row.latency.repeats for row in rows})
    calls = "-".join(map(str, {repeats[0]: 0, repeats[-1]: 0})) if repeats else "no"
    sizes = dict.fromkeys(f"{row.model} {row.inputs}" for row in rows)
    methods = dict.fromkeys(row.memory.method for row in rows)
    return [
        "FLOPs: 2 per multiply-add, per image, products and convolutions only; "
        f"latency: one batch, {calls} calls after at most {warmup} to warm up, "
        "compilation excluded.",
        f"Inputs: {'; '.join(sizes)}.",
        *([f"Memory: {'; '.join(methods)}."] if with_memory else []),
        f"Hardware: {hardware.describe()}; jax {jax.__version__}.",
    ]


def write_csv(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    columns: Sequence[Column] = COLUMNS,
) -> None:
    """Writes the columns of the table, numbers to six digits, replacing the file whole.

    Raises:
      OSError: the directory does not exist or cannot be written.
    """
    path = pathlib.Path(path)
    with storage.replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(column.heading for column in columns)
        for row in rows:
            writer.writerow(_plain(column.value(row)) for column in columns)


def _plain(value: str | int | float | None) -> str | int | None:
    return f"{value:.6g}" if isinstance(value, float) else value
