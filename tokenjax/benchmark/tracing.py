"""A profile of a few calls of a program, and tables of where the device's time goes.

    DIR/<row>/plugins/profile/<time>/perfetto_trace.json.gz       for ui.perfetto.dev
    DIR/<row>/plugins/profile/<time>/<host>.xplane.pb             for TensorBoard
    DIR/<row>/kernels.csv, parts.csv, summary.txt                 the tables, whole

A GPU runs many kernels as one graph, and the profile then does not tell which operation
a library's kernel belongs to. Where much is not known, the program is compiled again
without graphs, for the tables alone; the time of a call and the idle share stay those
of the program that was measured.
"""

import dataclasses
import pathlib
import re
import sys
from collections.abc import Callable, Sequence

import jax

from tokenjax import storage, tables
from tokenjax.benchmark import (
    hardware,
    hlo_text,
    kernel_kinds,
    kernel_times,
    program,
    queueing,
)
from tokenjax.benchmark.kernel_times import KernelTimes, Share
from tokenjax.benchmark.measure import Row
from tokenjax.errors import first_line
from tokenjax.tables import Column
from tokenjax.training.observation.profiling import newest_trace

SECONDS = 0.3  # of calls to trace, about
FEWEST, MOST = 2, 10  # calls
SHOWN = 15  # lines of a table in the terminal
ENOUGH = 0.9  # of the time, whose part of the model is known
WITHOUT_GRAPHS = {"xla_gpu_graph_min_graph_size": "1000000"}


@dataclasses.dataclass
class Tracer:
    """Traces program after program; `texts` are the tables to print.

    Attributes:
      directory: of all traces.
      texts: one for each row so far.
    """

    directory: pathlib.Path
    texts: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, row: Row, made: program.Program) -> None:
        """Trace some calls of a row's program; what fails is said, and no more."""
        words = (row.model, row.mode, row.dtype, f"batch_{row.batch_size}")
        name = re.sub(r"[^\w.=-]+", "_", "-".join(words))
        folder = self.directory / name
        median = row.latency.median if row.latency else SECONDS
        calls = max(FEWEST, min(MOST, int(SECONDS / median)))
        try:
            times = _profile(made.function, made, folder, calls)
            if _hidden_in_graphs(times):
                times = _with_parts(times, made, folder / "without_graphs", calls)
            lines = _write(folder, row, times)
        except Exception as error:  # whatever a profiler has against a machine
            print(
                f"note: no trace of {row.model}: {first_line(error)}", file=sys.stderr
            )
            return
        self.texts.append("\n".join(lines))


def _profile(
    function: Callable[..., object],
    made: program.Program,
    folder: pathlib.Path,
    calls: int,
) -> KernelTimes:
    """Trace so many calls, queued and waited for once, and read what was written."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # every call of Python drowns the rest
    folder.mkdir(parents=True, exist_ok=True)  # a trace begun is not ended without it
    jax.block_until_ready(function(*made.calls[0]))
    with jax.profiler.trace(
        folder, create_perfetto_trace=True, profiler_options=options
    ):
        queueing.time_group(function, queueing.wait, made.calls, calls)
    written = max(newest_trace(folder).parent.glob("*.xplane.pb"))
    profile = jax.profiler.ProfileData.from_file(str(written))
    operations = hlo_text.read(made.compiled.as_text() or "")
    times = kernel_times.summarize(profile.planes, operations, calls)
    if not times.kernels:
        raise ValueError(f"{written} holds nothing that the device ran")
    return times


def _hidden_in_graphs(times: KernelTimes) -> bool:
    return times.known < ENOUGH and jax.devices()[0].platform == "gpu"


def _with_parts(
    times: KernelTimes, made: program.Program, folder: pathlib.Path, calls: int
) -> KernelTimes:
    """Return the same with the kernels of a program that runs them one by one."""
    again = program.recompile(made, WITHOUT_GRAPHS)
    found = _profile(again.function, again, folder, calls)
    return dataclasses.replace(
        times, kernels=found.kernels if found.known > times.known else times.kernels
    )


def columns(what: str, other: str) -> tuple[Column[Share], ...]:
    """Return a table's columns: what is together, and what else is said of it."""
    return (
        Column("ms/call", lambda share: 1e3 * share.seconds, ".3f"),
        Column("Share(%)", lambda share: 100 * share.share, ".1f"),
        Column("Runs/call", lambda share: share.runs, ".1f"),
        Column(what, lambda share: share.name, "s"),
        Column(other, lambda share: share.most, "s"),
    )


def _write(folder: pathlib.Path, row: Row, times: KernelTimes) -> list[str]:
    """Write the tables, and return them as they are printed, cut to some lines."""
    kinds = kernel_times.by_kind(times)
    parts = kernel_times.by_part(times)
    kernels = kernel_times.by_kernel(times)
    of_kinds = columns("Kind", "Most of it")
    of_parts = columns("Part of the model", "Most of it")
    of_kernels = columns("Kernel", "Most of it for")
    tables.write_csv(parts, folder / "parts.csv", of_parts)
    tables.write_csv(kernels, folder / "kernels.csv", of_kernels)
    heading = _heading(row, times, newest_trace(folder))

    def text(most: int) -> list[str]:
        return [
            *heading,
            *("", *_table(kinds, of_kinds, most)),
            *("", *_table(parts, of_parts, most)),
            *("", *_table(kernels, of_kernels, most)),
        ]

    with storage.replacing(folder / "summary.txt") as temporary:
        temporary.write_text("\n".join([*text(len(times.kernels)), ""]))
    return text(SHOWN)


def _table(
    shares: Sequence[Share], shown: Sequence[Column[Share]], most: int
) -> list[str]:
    lines = tables.text_lines([_shortened(each) for each in shares[:most]], shown)
    left = shares[most:]
    if left:
        rest = 100 * sum(share.share for share in left)
        lines.append(f"... and {len(left)} more, {rest:.1f} %")
    return lines


def _shortened(share: Share) -> Share:
    """Cut the names that libraries give their kernels."""
    return share._replace(name=share.name[:70])


def _heading(row: Row, times: KernelTimes, trace: pathlib.Path) -> list[str]:
    """Return what was traced, and what the figures mean, in lines."""
    lines = [
        f"Where the time of {row.model} goes: {row.mode}, {row.dtype}, batch "
        f"{row.batch_size}, {times.calls} calls queued, on {row.device}",
        f"{1e3 * times.seconds:.3f} ms of kernels in a call, which takes "
        f"{1e3 * times.span:.3f} ms; none runs in {times.idle:.1%} of it.",
    ]
    products = sum(
        kernel.seconds
        for kernel in times.kernels
        if kernel.kind in (kernel_kinds.PRODUCTS, kernel_kinds.ATTENTION)
    )
    if row.flops and products:
        rate = row.flops / products
        peak = hardware.peak_flops(row.device, row.dtype)
        share = f", {rate / peak:.1%} of the peak" if peak else ""
        lines.append(
            f"While products and attention run: {rate / 1e12:.3g} TFLOP/s{share}."
        )
    if times.known < ENOUGH:
        lines.append(
            f"The part of the model is known of {times.known:.0%} of the time."
        )
    return [*lines, f"Trace: open {trace} at https://ui.perfetto.dev"]
