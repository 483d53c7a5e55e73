"""Tables: the same columns as text for a terminal, as Markdown and as CSV.

    COLUMNS = (
        Column("Model", lambda row: row.model, "s"),
        Column("Latency(ms)", lambda row: 1e3 * row.seconds, ".2f"),
    )
    print("\\n".join(text_lines(rows, COLUMNS)))

Headings hold the units, cells the numbers alone.
"""

import csv
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from tokenjax import storage

Row = TypeVar("Row")
ReadRow = TypeVar("ReadRow", contravariant=True)
Value = str | int | float | None
NOTHING = "–"  # of Markdown, where a value is not known
NOT_MEASURED = "not measured"  # of a sentence


class Column(NamedTuple, Generic[ReadRow]):
    """A heading, the value of a row under it, and its format.

    A value of None, or NaN, is "-" as text, an en dash in Markdown and empty in a CSV.
    """

    heading: str
    value: Callable[[ReadRow], Value]
    form: str = "s"


def shown(value: Value, form: str) -> str:
    """Write a value into a sentence."""
    return NOT_MEASURED if _absent(value) else format(value, form)


def text_lines(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> list[str]:
    """Return the lines of a table: headings, a rule, and one for each row.

    Text is aligned left, numbers right.
    """
    cells = [_cells(row, columns, "-") for row in rows]
    headings = [column.heading for column in columns]
    widths = [max(map(len, group)) for group in zip(headings, *cells, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    lines = [_aligned(line, widths, columns) for line in (headings, *cells)]
    return [lines[0], rule, *lines[1:]]


def markdown(rows: Iterable[Row], columns: Sequence[Column[Row]]) -> str:
    """Return the table in Markdown, a line end after each of its lines."""
    lines = [[column.heading for column in columns], ["---"] * len(columns)]
    lines += [_cells(row, columns, NOTHING) for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def write_csv(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    columns: Sequence[Column[Row]],
) -> None:
    """Write the table with numbers to six digits, replacing the file whole.

    Raises:
      OSError: the directory does not exist or cannot be written.
    """
    path = pathlib.Path(path)
    with (
        storage.replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(column.heading for column in columns)
        for row in rows:
            writer.writerow(_plain(column.value(row)) for column in columns)


def _cells(row: Row, columns: Sequence[Column[Row]], absent: str) -> list[str]:
    values = [column.value(row) for column in columns]
    return [
        absent if _absent(value) else format(value, column.form)
        for value, column in zip(values, columns, strict=True)
    ]


def _aligned(
    cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column[Row]]
) -> str:
    padded = [
        cell.ljust(width) if column.form == "s" else cell.rjust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _plain(value: Value) -> str | int | None:
    if _absent(value):
        return None
    return f"{value:.6g}" if isinstance(value, float) else value


def _absent(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
