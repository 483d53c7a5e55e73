"""What `bench.py` does: rows, pairs with PyTorch, stages of SDTPS, files and figure."""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

import flax.linen as nn
from absl import flags

from tokenjax import tables
from tokenjax.benchmark import (
    cores,
    doubts,
    latency,
    markdown,
    measure,
    pairs,
    program,
    programs,
    reductions,
    report,
    sdtps,
    session,
    table,
    torch_peers,
    torch_programs,
    tracing,
)
from tokenjax.benchmark.chosen_models import Chosen, choose
from tokenjax.benchmark.command_line import (
    by_batch_size,
    check_file,
    check_no_arguments,
)
from tokenjax.benchmark.session import SEARCHED, Options, Request
from tokenjax.errors import UserError


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measure what the flags ask for, print the tables and write the files.

    Raises:
      UserError: a flag, model or argument that does not fit; before any measuring.
    """
    check_no_arguments(argv)
    options = values.flag_values_dict()
    chosen = choose(options)
    wanted = by_batch_size(list(chosen), options)
    if options["programs"]:
        _describe_programs(chosen, wanted, options)
        return
    if options["peer"]:  # before jax starts: both libraries share one GPU's memory
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    cores.bind(options["threads"])
    old, compared = _check(options, chosen, wanted)
    ways = _put_reductions(options, chosen, wanted)
    found: list[pairs.Pair] = []
    tracer = (
        tracing.Tracer(pathlib.Path(options["trace"])) if options["trace"] else None
    )

    def measure_alone(request: Request, timing: latency.Timing) -> list[measure.Row]:
        label, size, dtype, train = request
        name, arguments = chosen[label]
        pixels = options["image_size"]
        rows: list[measure.Row] = []
        if label in compared:
            row, made = _measure_pairs(chosen, request, options, timing, tracer)
            found.extend(made)
            rows = [row]
        if ways:
            return reductions.measure_ways(
                ways[label], size, dtype, pixels, timing, train, look=tracer
            )
        if not rows:
            row = measure.measure_model(
                name, arguments, size, dtype, pixels, timing, train, look=tracer
            )
            rows = [dataclasses.replace(row, model=label)]
        return rows

    def measure_one(request: Request, timing: latency.Timing) -> list[measure.Row]:
        if options["json"] or options["compare"]:
            return report.beside_reference(lambda: measure_alone(request, timing))
        return measure_alone(request, timing)

    asked = options["json"] or options["markdown"] or options["compare"]
    where = report.environment() if asked else {}
    rows = session.measure_all(wanted, measure_one, options)
    print(table.format_table(rows, options["warmup"]))
    if any(request.batch_size == SEARCHED for request in wanted):
        print("\n".join(session.best_batches(rows)))
    for text in tracer.texts if tracer else ():
        print("\n" + text)
    if found:
        print("\n" + pairs.format_pairs(found))
    if options["json"]:
        report.write(options["json"], rows, found, options, where)
    if options["markdown"]:
        markdown.write(options["markdown"], rows, found, options["warmup"], where)
    if old is not None:
        print("\n" + "\n".join(report.changes(old, rows, where)))
    if options["figure"]:
        _draw(rows, options["figure"])
    if any(model.name == sdtps.NAME for model in chosen.values()):
        print("\n" + sdtps.format_stages(_stages(rows, chosen, wanted, options)))


def _describe_programs(
    chosen: Chosen, wanted: Sequence[Request], options: Options
) -> None:
    """Print and write what the programs hold; nothing is measured.

    Raises: UserError for flags that do not fit, and where no program can be lowered.
    """
    platforms = programs.read(options["programs"])
    programs.check(options, wanted)
    check_file("csv", options["csv"])
    ways = _put_reductions(options, chosen, wanted)
    rows: list[programs.Row] = []
    for row in programs.describe_all(
        wanted, chosen, ways, platforms, options["image_size"]
    ):
        rows.append(row)
        if options["csv"]:
            tables.write_csv(rows, options["csv"], programs.COLUMNS)
    print(programs.format_table(rows))
    if all(row.problem for row in rows):
        raise UserError(f"{rows[0].model} {rows[0].problem}")


def _check(
    options: Options, chosen: Chosen, wanted: Sequence[Request]
) -> tuple[report.Json | None, set[str]]:
    """Say what can be said before measuring.

    Returns: the run to compare with; those of the chosen to be compared with PyTorch.
    """
    for flag in ("csv", "json", "markdown", "figure"):
        check_file(flag, options[flag])
    if options["figure"] and not options["figure"].endswith(".png"):
        raise UserError(f"--figure {options['figure']} must end in .png")
    old = report.read(options["compare"]) if options["compare"] else None
    modules = [each for each in chosen.values() if each.name == sdtps.NAME]
    if modules:
        _check_stages(wanted, options, len(modules))
        arguments = modules[0].arguments
        sdtps.check(arguments, wanted[0].dtype, options["image_size"])
    image_size = options["image_size"]
    notes, built = [], {}
    for label, dtype in dict.fromkeys((r.name, r.dtype) for r in wanted):
        name, arguments = chosen[label]
        module, _ = measure.build(name, arguments, dtype, image_size)
        if options["train"]:
            program.check_trainable(label, module)
        notes += doubts.of_model(label, module)
        built[label] = module
    compared = _check_peers(options, chosen, built) if options["peer"] else []
    without = [label for label in chosen if options["peer"] and label not in compared]
    if without:
        notes.append(f"{', '.join(without)}: no PyTorch equivalent here, ours alone")
    if compared:
        torch_programs.set_threads(options["threads"])
        notes += [torch_programs.check_dtype(dtype) for dtype in options["dtype"]]
    for note in dict.fromkeys(filter(None, notes)):
        print(f"note: {note}", file=sys.stderr, flush=True)
    return old, set(compared)


def _measure_pairs(
    chosen: Chosen,
    request: Request,
    options: Options,
    timing: latency.Timing,
    look: measure.Look | None,
) -> tuple[measure.Row, list[pairs.Pair]]:
    """Measure a model beside PyTorch's."""
    label, size, dtype, train = request
    name, arguments = chosen[label]
    module, image_size = measure.build(name, arguments, dtype, options["image_size"])
    compiled = options["peer"] == "torch"
    return pairs.measure_pairs(
        name, module, size, dtype, image_size, timing, train, compiled, label, look=look
    )


def _put_reductions(
    options: Options, chosen: Chosen, wanted: Sequence[Request]
) -> reductions.Ways:
    """Put the methods of --reduction into the models; nothing where none is asked for.

    Raises: UserError for one that goes into none of them, and for batches to search.
    """
    if not options["reduction"]:
        return {}
    if any(request.batch_size == SEARCHED for request in wanted):
        raise UserError(
            "--reduction is measured in turns at given batch sizes: replace auto"
        )
    written = reductions.read(options["reduction"])
    dtype = wanted[0].dtype
    return reductions.put_into(chosen, written, dtype, options["image_size"])


def _check_peers(
    options: Options, chosen: Chosen, built: Mapping[str, nn.Module]
) -> list[str]:
    """Return those that have a PyTorch equivalent.

    Raises: UserError where none has, or where PyTorch or timm is missing.
    """
    torch_peers.check_installed()
    compared = [
        label
        for label, module in built.items()
        if torch_peers.has_equivalent(chosen[label].name, module)
    ]
    for label in compared or list(built)[:1]:
        torch_peers.check(chosen[label].name, built[label])
    return compared


def _check_stages(wanted: Sequence[Request], options: Options, number: int) -> None:
    """Refuse what stages cannot be: they are one inference at given sizes."""
    searched = any(request.batch_size == SEARCHED for request in wanted)
    several = len(set(options["dtype"])) > 1
    if options["train"] or options["peer"] or searched or several:
        raise UserError(
            "--model sdtps measures stages of inference, at given batch sizes and one "
            "dtype: for --train, --peer, auto or more dtypes take --model demo"
        )
    if number > 1:
        raise UserError(
            "--models measures the stages of one sdtps at a time; take demo for others"
        )


def _stages(
    rows: Sequence[measure.Row],
    chosen: Chosen,
    wanted: Sequence[Request],
    options: Options,
) -> list[sdtps.StageRow]:
    """Measure the stages at each batch size; the CSV has them after the rows."""
    timing = latency.Timing(
        *(options["warmup"], options["repeats"], options["max_seconds"]),
        queue=options["queue"],
    )
    stages: list[sdtps.StageRow] = []
    for request in wanted:
        name, arguments = chosen[request.name]
        if name != sdtps.NAME:
            continue
        stages += sdtps.measure_stages(
            arguments, request.batch_size, request.dtype, options["image_size"], timing
        )
        if options["csv"]:
            table.write_csv([*rows, *stages], options["csv"], sdtps.COLUMNS)
    return stages


def _draw(rows: Sequence[measure.Row], path: str) -> None:
    """Draw the figure, of the first batch size, dtype and mode."""
    from tokenjax import plots  # matplotlib, needed at the end alone

    measured = [row for row in rows if row.seconds and row.flops and row.parameters]
    if not measured:
        print(f"{path} is not drawn: no row has FLOPs, parameters and a latency")
        return
    first = measured[0]
    same = (first.batch_size, first.dtype, first.mode)
    points = [
        {
            "name": row.model,
            "gflops": row.flops / row.batch_size / 1e9,
            "latency_ms": 1e3 * row.seconds / row.batch_size,
            "parameters": row.parameters,
        }
        for row in measured
        if row.seconds and row.flops and (row.batch_size, row.dtype, row.mode) == same
    ]
    label = (
        f"{first.mode}, {first.dtype}, batch {first.batch_size}: "
        f"median ms per image on {first.device}"
    )
    plots.latency_over_flops(points, path, label)
    print(f"{path} shows latency over FLOPs")
