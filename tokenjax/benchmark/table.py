"""Rows of the benchmark as a table for the terminal and as CSV.

FLOPs are given per image and latency per batch, whatever the batch size.
"""

import os
from collections.abc import Callable, Iterable, Sequence

import jax

from tokenjax import tables
from tokenjax.benchmark import flops, hardware
from tokenjax.benchmark.measure import Row
from tokenjax.tables import Column


def _latency(name: str, factor: float = 1e3) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        found = getattr(row.latency, name) if row.latency else None
        return None if found is None else found * factor

    return value


def _per_image(unit: float) -> Callable[[Row], float | None]:
    return lambda row: row.flops and row.flops / row.batch_size / unit


def _mebibytes(row: Row) -> float | None:
    return row.memory.bytes / 2**20 if row.memory else None


COLUMNS: tuple[Column[Row], ...] = (
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
    Column("Memory(MiB)", _mebibytes, ".1f"),
    Column("Compile(s)", _latency("compile_seconds", 1.0), ".2f"),
    Column("Dtype", lambda row: row.dtype, "s"),
    Column("Device", lambda row: row.device, "s"),
)
QUEUED: Column[Row] = Column(
    "Queued_median(ms)",
    lambda row: 1e3 * row.queued.median if row.queued else None,
    ".2f",
)
PEAK: Column[Row] = Column(
    "Peak(%)", lambda row: row.utilization and 100 * row.utilization, ".1f"
)
MODE: Column[Row] = Column("Mode", lambda row: row.mode, "s")
PROBLEM: Column[Row] = Column("Problem", lambda row: row.problem, "s")


def _saved(name: str, factor: float = 1.0) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        found = getattr(row.saved, name) if row.saved else None
        return None if found is None else found * factor

    return value


def _speedup(row: Row) -> float | None:
    return 1 / row.saved.time_ratio if row.saved else None


def _interval(row: Row) -> str | None:
    if row.saved is None or row.saved.low is None or row.saved.high is None:
        return None
    return f"{row.saved.low:.3f}-{row.saved.high:.3f}"


REDUCTION: tuple[Column[Row], ...] = (
    Column("FLOPs_saved(%)", _saved("flops", 100), ".1f"),
    Column("Time/none", _saved("time_ratio"), ".3f"),
    Column("95%", _interval, "s"),
    Column("Speedup", _speedup, ".2f"),
    Column("Saved_time/FLOPs(%)", _saved("turned", 100), ".1f"),
)


IS_QUEUED = (
    "Queued_median: of a call among {calls} that are queued and waited for once: the "
    "device's time without Python's. {what} are of it where there is one; latency is "
    "that of a call that is waited for."
)
IN_TURNS = (
    "Time/none: of a call to that of the same model with all its tokens, in turns, "
    "median over the rounds; Saved_time/FLOPs: share of time saved to share of FLOPs "
    "saved."
)


def columns_for(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return COLUMNS, and those that say something of these rows alone."""
    return [*COLUMNS, *columns_of_some(rows)]


def columns_of_some(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return those of the further columns that say something of these rows."""
    columns = [QUEUED] if any(row.queued for row in rows) else []
    columns += REDUCTION if any(row.reduction for row in rows) else ()
    if any(row.utilization for row in rows):
        columns.append(PEAK)
    if any(row.mode != rows[0].mode or row.mode != "inference" for row in rows):
        columns.append(MODE)
    if any(row.problem for row in rows):
        columns.append(PROBLEM)
    return columns


def columns_of_the_original(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the CSV's last columns, named as those of VDPA's own benchmark.

    A row has the latency at its own precision, and that of the same model and batch in
    float16, else bfloat16, if measured. FLOPs are ours: 2 per multiply-add.
    """
    half = {
        (row.model, row.batch_size, row.mode): row
        for dtype in ("bfloat16", "float16")  # the original's own is the last
        for row in rows
        if row.dtype == dtype
    }

    def single(name: str) -> Callable[[Row], float | None]:
        return lambda row: _latency(name)(row) if row.dtype == "float32" else None

    def mixed(row: Row) -> float | None:
        same = half.get((row.model, row.batch_size, row.mode))
        return _latency("median")(same) if same else None

    sizes = {row.image_size for row in rows if row.image_size}
    sides = {height for height, width in sizes if height == width}
    square = f"@{sides.pop()}^2" if len(sides) == 1 else ""
    return [
        Column("Latency_FP32_mean(ms)", single("mean"), ".2f"),
        Column("Latency_FP32_median(ms)", single("median"), ".2f"),
        Column("Latency_FP32_std(ms)", single("std"), ".2f"),
        Column("Latency_AMP_median(ms)", mixed, ".2f"),
        *([Column(f"GFLOPs{square}", _per_image(1e9), ".3f")] if square else []),
    ]


def chosen_columns(*headings: str) -> list[Column[Row]]:
    """Return columns of COLUMNS by their headings, in the order given."""
    by_heading = {column.heading: column for column in COLUMNS}
    return [by_heading[heading] for heading in headings]


def format_table(
    rows: Sequence[Row],
    warmup: int,
    columns: Sequence[Column[Row]] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the table, and under it how its numbers were found.

    `warmup` is the number of untimed calls, for the note; `notes` are lines to put
    before it.
    """
    columns = columns_for(rows) if columns is None else columns
    lines = tables.text_lines(rows, columns)
    headings = [column.heading for column in columns]
    found = how_found(rows, warmup, "Memory(MiB)" in headings)
    return "\n".join([*lines, "", *notes, *found])


def how_found(rows: Sequence[Row], warmup: int, with_memory: bool = True) -> list[str]:
    """Return the lines on what is counted and how it was timed."""
    repeats = sorted({row.latency.repeats for row in rows if row.latency})
    calls = "-".join(map(str, {repeats[0]: 0, repeats[-1]: 0})) if repeats else "no"
    whole = [row for row in rows if row.reduction in ("", "none")]
    sizes = dict.fromkeys(f"{row.model} {row.inputs}" for row in whole if row.inputs)
    methods = dict.fromkeys(row.memory.method for row in rows if row.memory)
    peak = any(row.utilization for row in rows)
    return [
        f"{flops.CONVENTION}; latency: one batch, {calls} calls after at most {warmup} "
        "to warm up, compilation excluded.",
        f"Inputs: {'; '.join(sizes)}.",
        *([f"Memory: {'; '.join(methods)}."] if with_memory and methods else []),
        *_on_queued(rows),
        *([IN_TURNS] if any(row.saved for row in rows) else []),
        *(["Peak: of the device's dense products, by its data sheet."] if peak else []),
        f"Hardware: {hardware.describe()}; jax {jax.__version__}.",
    ]


def _on_queued(rows: Sequence[Row]) -> list[str]:
    """Return the line on queued calls, none where there are none."""
    counts = sorted({row.queued.calls for row in rows if row.queued})
    if not counts:
        return []
    what = ["Images/s"]
    what += ["Peak"] if any(row.utilization for row in rows) else []
    what += ["Time/none"] if any(row.saved for row in rows) else []
    calls = "-".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return [IS_QUEUED.format(calls=calls, what=" and ".join(what))]


def write_csv(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    columns: Sequence[Column[Row]] | None = None,
) -> None:
    """Write the rows' columns, all that there are where none are given.

    Raises:
      OSError: the directory does not exist or cannot be written.
    """
    rows = list(rows)
    if columns is None:
        columns = [
            *COLUMNS,
            QUEUED,
            PEAK,
            MODE,
            PROBLEM,
            *columns_of_the_original(rows),
        ]
        columns += REDUCTION if any(row.reduction for row in rows) else ()
    tables.write_csv(rows, path, columns)
