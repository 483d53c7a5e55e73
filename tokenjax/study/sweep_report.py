"""The report of a sweep: a table, printed and as CSV, JSON and a figure."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from tokenjax import storage, tables
from tokenjax.benchmark.latency import Latency
from tokenjax.tables import Column


@dataclasses.dataclass
class Row:
    """One value.

    Attributes:
      value: of the argument.
      trained: whether it is the one that the weights were trained with, or learned.
      examples: of the split.
      scalars: what the task measures of a split: "top1", "loss", "mflops" an image.
      latency: of a batch.
      time_ratio: median over the rounds of its time over the trained value's: what else
        the machine does moves it less than the latency.
    """

    value: Any
    trained: bool
    examples: int
    scalars: dict[str, float]
    latency: Latency | None = None
    time_ratio: float | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """A sweep; `how` says what a value did, `of` what differs from the run's own."""

    argument: str
    how: str
    split: str
    of: str
    step: int | None
    checkpoint: str
    batch_size: int
    device: str
    rows: list[Row]


def shown(value: Any) -> str:
    """Write a value of an argument for a reader."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def columns(report: Report) -> list[Column[Row]]:
    """Return the columns of which some row has a value."""
    every: list[Column[Row]] = [
        Column(f"{report.split} accuracy, %", _percent("top1"), ".2f"),
        Column("routed to the big network, %", _percent("routing_ratio"), ".2f"),
        Column("target patches routed, %", _percent("target_recall"), ".2f"),
        Column("MFLOPs per image", lambda row: row.scalars.get("mflops"), ".2f"),
        Column(f"latency of {report.batch_size}, ms", _milliseconds, ".2f"),
        Column("over the trained", lambda row: row.time_ratio, ".2f"),
    ]
    measured = [
        column
        for column in every
        if any(column.value(row) is not None for row in report.rows)
    ]
    numbers = all(
        isinstance(row.value, int | float) and not isinstance(row.value, bool)
        for row in report.rows
    )
    return [
        Column(report.argument, lambda row: row.value, ".4g")
        if numbers
        else Column(report.argument, lambda row: str(row.value)),
        *measured,
        Column("", lambda row: "trained" if row.trained else ""),
    ]


def _percent(key: str) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        return 100 * row.scalars[key] if key in row.scalars else None

    return value


def _milliseconds(row: Row) -> float | None:
    return 1e3 * row.latency.median if row.latency else None


def lines(report: Report) -> list[str]:
    """Return the table for a terminal, with what it is of."""
    examples = report.rows[0].examples
    head = f"{report.argument}: {report.how}; {examples} images of the {report.split} "
    head += f"split, latencies on {report.device}"
    return [head, "", *tables.text_lines(report.rows, columns(report))]


def write(
    report: Report, directory: pathlib.Path, suffix: str, draw: bool
) -> list[pathlib.Path]:
    """Write sweep-<argument><suffix>.json, .csv and the figure; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"sweep-{report.argument}{suffix}"
    files = [directory / f"{stem}.json", directory / f"{stem}.csv"]
    storage.write_json(files[0], _plain(report))
    tables.write_csv(report.rows, files[1], columns(report))
    if draw:
        from tokenjax import plots

        points = [_point(row) for row in report.rows]
        path = directory / f"figures{suffix}" / f"sweep-{report.argument}.png"
        label = f"ms for {report.batch_size} images"
        files.append(plots.sweep_panels(points, path, report.argument, label))
    return files


def _plain(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it."""
    about = dataclasses.asdict(report)
    about["jax"] = jax.__version__
    about["rows"] = [
        {
            "value": row.value,
            "trained": row.trained,
            "examples": row.examples,
            **row.scalars,
            **_latencies(row),
        }
        for row in report.rows
    ]
    return about


def _latencies(row: Row) -> dict[str, float | int | None]:
    if row.latency is None:
        return {}
    low, high = row.latency.low, row.latency.high
    return {
        "latency_ms": 1e3 * row.latency.median,
        "latency_low_ms": None if low is None else 1e3 * low,
        "latency_high_ms": None if high is None else 1e3 * high,
        "time_ratio": row.time_ratio,
        "rounds": row.latency.repeats,
    }


def _point(row: Row) -> dict[str, Any]:
    """Return what the figure takes of a row."""
    keys = {"top1": "accuracy", "routing_ratio": "routing_ratio", "mflops": "mflops"}
    named = {name: row.scalars.get(key) for key, name in keys.items()}
    return {"value": row.value, "trained": row.trained, **named, **_latencies(row)}
