"""`bench.py --programs cuda,tpu`: what models' programs hold, for devices not here.

A row for each model, dtype and platform: the products that are there and those that
differ, loops, sorts, and what a half-precision program still computes in float32.
Nothing is compiled or run; see `lowering` and `program_counts`.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax

from tokenjax import tables
from tokenjax.benchmark import (
    inputs,
    lowering,
    measure,
    program,
    program_counts,
    reductions,
)
from tokenjax.benchmark.chosen_models import Chosen
from tokenjax.benchmark.program_counts import CONVOLUTION, DOT, Counts, Product
from tokenjax.benchmark.session import SEARCHED, Options, Request
from tokenjax.errors import UserError, unknown_name
from tokenjax.tables import Column, Value

FLAG = "--programs"
OTHERS = ("peer", "json", "markdown", "figure", "compare")  # of measuring
MOST_WIDE = 6  # products of a model that are listed
_ELEMENTS = {"bfloat16": "bf16", "float16": "f16"}


@dataclasses.dataclass(frozen=True)
class Row:
    """The program of a model for one platform, or the problem with it.

    `trace_seconds` are the model's, `lower_seconds` the platform's.
    """

    model: str
    batch_size: int
    dtype: str
    mode: str
    platform: str
    counts: Counts | None = None
    trace_seconds: float | None = None
    lower_seconds: float | None = None
    problem: str = ""

    @property
    def wide(self) -> dict[Product, int]:
        """Return the products in float32 of a program in half precision."""
        element = _ELEMENTS.get(self.dtype, "")
        return self.counts.wider_than(element) if self.counts else {}


def _counted(value: Callable[[Counts], Value]) -> Callable[[Row], Value]:
    return lambda row: None if row.counts is None else value(row.counts)


def _several(found: Counter[int] | Counter[int | None]) -> str:
    """Write {12: 3, 4: 1} as "3x12 1x4"."""
    order = sorted(found.items(), key=lambda item: -(item[0] or 0))
    return " ".join(f"{n}x{'?' if of is None else of}" for of, n in order) or "0"


def _wide_number(row: Row) -> int | None:
    return None if row.counts is None else sum(row.wide.values())


def _wide_share(row: Row) -> float | None:
    if row.counts is None or row.dtype not in _ELEMENTS:
        return None
    return 100 * row.counts.share_of_flops(row.wide)


COLUMNS: tuple[Column[Row], ...] = (
    Column("Model", lambda row: row.model, "s"),
    Column("Mode", lambda row: row.mode, "s"),
    Column("Dtype", lambda row: row.dtype, "s"),
    Column("Platform", lambda row: row.platform, "s"),
    Column("Products", _counted(lambda counts: counts.of(DOT)), "d"),
    Column("Distinct", _counted(lambda counts: counts.distinct(DOT)), "d"),
    Column("Convs", _counted(lambda counts: counts.of(CONVOLUTION)), "d"),
    Column("Distinct_convs", _counted(lambda c: c.distinct(CONVOLUTION)), "d"),
    Column("float32", _wide_number, "d"),
    Column("of_FLOPs(%)", _wide_share, ".1f"),
    Column("Loops", _counted(lambda counts: _several(counts.loops)), "s"),
    Column("Iterations", _counted(lambda counts: counts.iterations), "d"),
    Column("Branches", _counted(lambda counts: _several(counts.branches)), "s"),
    Column("Sorts", _counted(lambda c: c.of(*program_counts.SORTS)), "d"),
    Column("Gathers", _counted(lambda c: c.of(*program_counts.GATHERS)), "d"),
    Column("Scatters", _counted(lambda c: c.of(*program_counts.SCATTERS)), "d"),
    Column("Calls", _counted(lambda c: c.custom_calls.total()), "d"),
    Column("Operations", _counted(lambda c: c.operations.total()), "d"),
    Column("Trace(s)", lambda row: row.trace_seconds, ".2f"),
    Column("Lower(s)", lambda row: row.lower_seconds, ".2f"),
)
NOTES = (
    "Products: matrix products in the program, each function as often as it is called; "
    "Distinct: those that differ, each of which a GPU tries its ways of; float32: "
    "products and convolutions of a half-precision program that are not, and their "
    "share of FLOPs; Loops: how many x iterations (?: data decide); Branches: how many "
    "x sides. Nothing was compiled or run.",
)


def read(platforms: Sequence[str]) -> list[str]:
    """Return the platforms of the flag.

    Raises: UserError for one that is unknown.
    """
    for name in platforms:
        if name not in lowering.PLATFORMS:
            valid = lowering.PLATFORMS
            raise UserError(f"{FLAG}: {unknown_name('platform', name, valid)}")
    return list(dict.fromkeys(platforms))


def check(options: Options, wanted: Sequence[Request]) -> None:
    """Refuse flags that say how to measure: nothing is.

    Raises: UserError.
    """
    for flag in OTHERS:
        if options[flag]:
            raise UserError(f"{FLAG} runs nothing: leave --{flag} out")
    if any(request.batch_size == SEARCHED for request in wanted):
        raise UserError(f"{FLAG} runs nothing, so that no batch is best: replace auto")


def describe_all(
    wanted: Sequence[Request],
    chosen: Chosen,
    ways: reductions.Ways,
    platforms: Sequence[str],
    image_size: int,
) -> Iterator[Row]:
    """Yield the rows of every request: of each way of a model and each platform."""
    for request in wanted:
        alone = reductions.Way(request.name, reductions.NONE, chosen[request.name])
        for way in ways.get(request.name, [alone]):
            yield from describe(way, request, platforms, image_size)


def describe(
    way: reductions.Way, request: Request, platforms: Sequence[str], image_size: int
) -> Iterator[Row]:
    """Yield a model's row for each platform; it is traced once."""
    size, dtype = request.batch_size, request.dtype
    mode = measure.TRAINING if request.train else measure.INFERENCE
    rows = [Row(way.label, size, dtype, mode, platform) for platform in platforms]
    if way.problem:
        yield from (dataclasses.replace(row, problem=way.problem) for row in rows)
        return
    module, size_left = measure.build(*way.model, dtype, image_size)
    if request.train:
        program.check_trainable(way.label, module)
    start = time.perf_counter()
    example = inputs.describe_inputs(module, size, size_left)
    traced = lowering.trace_model(module, example, request.train)
    seconds = time.perf_counter() - start
    for row in rows:
        yield _lowered(dataclasses.replace(row, trace_seconds=seconds), traced)


def _lowered(row: Row, traced: jax.stages.Traced) -> Row:
    start = time.perf_counter()
    try:
        module = lowering.lower(traced, row.platform)
    except lowering.CannotLower as error:
        return dataclasses.replace(row, problem=str(error))
    seconds = time.perf_counter() - start
    counts = program_counts.count(module)
    return dataclasses.replace(row, counts=counts, lower_seconds=seconds)


def format_table(rows: Sequence[Row]) -> str:
    """Return the table; under it products in float32, calls, and problems."""
    columns = list(COLUMNS)
    if len({row.batch_size for row in rows}) > 1:
        batch: Column[Row] = Column("Batch", lambda row: row.batch_size, "d")
        columns.insert(1, batch)
    lines = tables.text_lines(rows, columns)
    remarks: dict[str, list[str]] = {}  # platforms by what is said of a model
    for row in rows:
        for remark in _remarks(row):
            remarks.setdefault(remark, []).append(row.platform)
    said = [f"{remark} ({', '.join(on)})" for remark, on in remarks.items()]
    return "\n".join([*lines, "", *said, *NOTES])


def _remarks(row: Row) -> Iterator[str]:
    name = f"{row.model}, {row.mode}, {row.dtype}"
    if row.problem:
        yield f"{name}: {row.problem}"
    if row.counts is None:
        return
    if row.counts.has_float64:
        yield f"{name}: computes in float64"
    for target, number in sorted(row.counts.custom_calls.items()):
        yield f"{name}: calls {target} x{number}"
    yield from (f"{name}: in float32 {wide}" for wide in _wide(row.counts, row.wide))


def _wide(counts: Counts, wide: Mapping[Product, int]) -> Iterator[str]:
    """Yield how often products of the same shapes are in float32, and where."""
    numbers: Counter[str] = Counter()
    places: dict[str, set[str]] = {}
    shares: Counter[str] = Counter()
    for product, number in wide.items():
        shapes = str(product)
        numbers[shapes] += number
        places.setdefault(shapes, set()).update(counts.places[product])
        shares[shapes] += product.flops * counts.runs[product]
    whole = sum(each.flops * times for each, times in counts.runs.items())
    for shapes, work in shares.most_common(MOST_WIDE):
        where = sorted(places[shapes])
        more = f" and {len(where) - 2} more" if len(where) > 2 else ""
        yield (
            f"{shapes} x{numbers[shapes]}, {100 * work / whole:.2f} % of FLOPs: "
            f"{', '.join(where[:2])}{more}"
        )
    if len(shares) > MOST_WIDE:
        yield f"products of {len(shares) - MOST_WIDE} more shapes"
