"""A run as one table in Markdown, for a document: ours, and PyTorch's beside it."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

from tokenjax import storage, tables
from tokenjax.benchmark import pairs, table
from tokenjax.benchmark.measure import Row
from tokenjax.benchmark.pairs import Pair
from tokenjax.tables import Column, Value

HEADINGS = (
    *("Model", "Params(M)", "Batch", "GFLOPs", "GMACs", "Latency_median(ms)"),
    *("Latency_p90(ms)", "Memory(MiB)", "Dtype"),
)


def write(
    path: str | os.PathLike[str],
    rows: Sequence[Row],
    compared: Sequence[Pair],
    warmup: int,
    where: Mapping[str, object],
) -> None:
    """Write the table, replacing the file whole.

    Args:
      path: the file.
      rows: what was measured of ours.
      compared: ours beside PyTorch's.
      warmup: untimed calls, for the note.
      where: the run's command, and more.
    """
    columns = [*table.chosen_columns(*HEADINGS), *table.columns_of_some(rows)]
    for kind in dict.fromkeys(pair.peer for pair in compared):
        columns += columns_beside([pair for pair in compared if pair.peer == kind])
    notes = table.how_found(rows, warmup) + (pairs.notes(compared) if compared else [])
    parts = [f"    {where['command']}\n", tables.markdown(rows, columns)]
    parts += [f"{note}\n" for note in notes]
    with storage.replacing(pathlib.Path(path)) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def columns_beside(compared: Sequence[Pair]) -> list[Column[Row]]:
    """Return the columns on one of PyTorch's programs; empty where there is none."""
    known = {(p.model, p.batch_size, p.dtype, p.mode): p for p in compared}
    kind = compared[0].peer

    def of(value: Callable[[Pair], Value]) -> Callable[[Row], Value]:
        def cell(row: Row) -> Value:
            pair = known.get((row.model, row.batch_size, row.dtype, row.mode))
            return None if pair is None else value(pair)

        return cell

    columns = [
        Column(f"PyTorch {kind}(ms)", of(lambda pair: 1e3 * pair.theirs.median), ".2f"),
    ]
    if any(pair.queued for pair in compared):
        heading = f"PyTorch {kind} queued(ms)"
        columns.append(Column(heading, of(pairs.THEIRS_QUEUED.value), ".2f"))
    return [
        *columns,
        Column("Ours/theirs", of(lambda pair: pair.ratio), ".3f"),
        Column("95%", of(pairs.interval), "s"),
        Column("Difference", of(lambda pair: pair.difference), ".1e"),
    ]
