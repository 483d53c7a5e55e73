"""Row after row under a progress bar: what fails is said, and the rest goes on."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from tokenjax import jax_events
from tokenjax.benchmark import latency, measure, memory, table
from tokenjax.errors import UserError
from tokenjax.tables import Column

SEARCHED = 0  # as a batch size: 1, 2, 4, ... as long as it pays
PAYS = 1.03  # images a second over the best so far
MOST_DOUBLINGS = 14


class Request(NamedTuple):
    """One row to measure, or all rows of a search for the best batch size."""

    name: str
    batch_size: int  # or SEARCHED
    dtype: str = "float32"
    train: bool = False


Options = Mapping[str, Any]  # the values of a command's flags
# Returns a row, or several if a request is for as many models.
Measure = Callable[[Request, latency.Timing], list[measure.Row]]


def measure_all(
    wanted: Sequence[Request],
    measure_one: Measure,
    options: Options,
    columns: Sequence[Column[measure.Row]] | None = None,
) -> list[measure.Row]:
    """Measure rows, of which the CSV has every finished one.

    What is too large for the memory has a row too, which says so.

    Raises:
      UserError: nothing fitted.
    """
    calls = options["warmup"] + options["repeats"]
    rows: list[measure.Row] = []
    with tqdm(total=calls * len(wanted), unit="call") as bar:
        timing = latency.Timing(
            *(options["warmup"], options["repeats"], options["max_seconds"]),
            on_call=bar.update,
            queue=options["queue"],
        )
        for number, request in enumerate(wanted, start=1):
            for row in _rows(request, measure_one, timing, bar):
                rows.append(row)
                jax_events.tell_result()
                if row.problem:
                    bar.write(f"{row.problem}")
                if options["csv"]:
                    table.write_csv(rows, options["csv"], columns)
            bar.total = max(bar.total, bar.n)
            bar.update(calls * number - bar.n)  # a time budget may skip calls
    if all(row.problem for row in rows):
        raise UserError(rows[0].problem)
    return rows


def _rows(
    request: Request, measure_one: Measure, timing: latency.Timing, bar: tqdm
) -> Iterator[measure.Row]:
    def at(batch_size: int) -> list[measure.Row]:
        exact = request._replace(batch_size=batch_size)
        bar.set_description(f"{request.name}, batch {batch_size}, {request.dtype}")
        try:
            return measure_one(exact, timing)
        except memory.OutOfMemory as error:
            row = measure.failed_row(
                request.name, batch_size, request.dtype, request.train, str(error)
            )
            return [row]

    if request.batch_size != SEARCHED:
        yield from at(request.batch_size)
        return

    def search_at(batch_size: int) -> measure.Row:
        gc.collect()  # what the size before has left
        return at(batch_size)[0]

    yield from search(search_at, too_large)


def search(
    at: Callable[[int], measure.Row],
    refuse: Callable[[Sequence[measure.Row]], str] = lambda rows: "",
) -> Iterator[measure.Row]:
    """Double the batch until it does not fit, or twice in a row gains next to nothing.

    `at` measures one batch size; `refuse` says of the rows so far why the next is not
    tried, "" if nothing speaks against it.
    """
    best, poor = 0.0, 0
    rows: list[measure.Row] = []
    for doublings in range(MOST_DOUBLINGS):
        problem = refuse(rows)
        if problem:
            last = rows[-1]
            train = last.mode == measure.TRAINING
            yield measure.failed_row(
                last.model, 2**doublings, last.dtype, train, problem
            )
            return
        row = at(2**doublings)
        yield row
        if row.images_per_second is None:
            return
        rows.append(row)
        poor = 0 if row.images_per_second > PAYS * best else poor + 1
        best = max(best, row.images_per_second)
        if poor == 2:
            return


def too_large(rows: Sequence[measure.Row]) -> str:
    """Say that the next batch will not fit by the plans of the last two."""
    if len(rows) < 2:
        return ""
    last, device = rows[-1], jax.devices()[0]
    needed = memory.of_double(rows[-2].planned, last.planned)
    room = memory.room(device)
    if needed is None or room is None or needed <= room:
        return ""
    return (
        f"{last.model} with batch size {2 * last.batch_size} is not tried: it would "
        f"need about {needed / 2**30:.1f} GiB by the plans of the sizes before, and "
        f"{room / 2**30:.1f} GiB of {device.device_kind} are free"
    )


def best_batches(rows: Iterable[measure.Row]) -> list[str]:
    """Return sentences on where each model's throughput is greatest."""
    groups: dict[tuple[str, str, str], list[measure.Row]] = {}
    for row in rows:
        if row.latency:
            groups.setdefault((row.model, row.dtype, row.mode), []).append(row)
    sentences = []
    for (name, dtype, mode), group in groups.items():
        best = max(group, key=lambda row: row.images_per_second or 0.0)
        sentences.append(
            f"Best batch of {name}, {dtype}, {mode}: {best.batch_size} "
            f"({best.images_per_second:.1f} images/s)."
        )
    return sentences
