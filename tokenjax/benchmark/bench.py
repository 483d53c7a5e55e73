"""What `bench.py` does: rows, pairs with PyTorch, stages of SDTPS, files and figure."""

import os
from collections.abc import Mapping, Sequence

from absl import flags

from tokenjax.benchmark import (
    latency,
    measure,
    pairs,
    program,
    report,
    sdtps,
    session,
    table,
    torch_peers,
)
from tokenjax.benchmark.command_line import (
    check_file,
    check_no_arguments,
    parse_arguments,
    requests,
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
    wanted = requests(options)
    arguments = parse_arguments(options["set"])
    old = _check(options, wanted, arguments)
    found: list[pairs.Pair] = []

    def measure_alone(request: Request, timing: latency.Timing) -> measure.Row:
        name, size, dtype, train = request
        if not options["peer"]:
            return measure.measure_model(
                name, arguments, size, dtype, options["image_size"], timing, train
            )
        module, image_size = measure.build(
            name, arguments, dtype, options["image_size"]
        )
        compiled = options["peer"] == "torch"
        row, made = pairs.measure_pairs(
            name, module, size, dtype, image_size, timing, train, compiled
        )
        found.extend(made)
        return row

    def measure_one(request: Request, timing: latency.Timing) -> measure.Row:
        if options["json"] or options["compare"]:
            return report.beside_reference(lambda: measure_alone(request, timing))
        return measure_alone(request, timing)

    where = report.environment()
    rows = session.measure_all(wanted, measure_one, options)
    print(table.format_table(rows, options["warmup"]))
    if any(request.batch_size == SEARCHED for request in wanted):
        print("\n".join(session.best_batches(rows)))
    if found:
        print("\n" + pairs.format_pairs(found))
    if options["json"]:
        report.write(options["json"], rows, found, options, where)
    if old is not None:
        print("\n" + "\n".join(report.changes(old, rows, where)))
    if options["figure"]:
        _draw(rows, options["figure"])
    sizes = [r.batch_size for r in wanted if r.name == sdtps.NAME]
    if sizes:
        print("\n" + sdtps.format_stages(_stages(rows, wanted, options)))


def _check(
    options: Options, wanted: Sequence[Request], arguments: Mapping[str, object]
) -> report.Json | None:
    """Say what can be said before measuring; return the run to compare with."""
    for flag in ("csv", "json", "figure"):
        check_file(flag, options[flag])
    if options["figure"] and not options["figure"].endswith(".png"):
        raise UserError(f"--figure {options['figure']} must end in .png")
    old = report.read(options["compare"]) if options["compare"] else None
    if options["peer"]:  # before jax starts: both libraries share one GPU's memory
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if any(request.name == sdtps.NAME for request in wanted):
        _check_stages(wanted, options)
        sdtps.check(arguments, wanted[0].dtype, options["image_size"])
    image_size = options["image_size"]
    for name, dtype in dict.fromkeys((r.name, r.dtype) for r in wanted):
        module, _ = measure.build(name, arguments, dtype, image_size)
        if options["train"]:
            program.check_trainable(name, module)
        if options["peer"]:
            torch_peers.check(name, module)
    return old


def _check_stages(wanted: Sequence[Request], options: Options) -> None:
    """Refuse what stages cannot be: they are one inference at given sizes."""
    searched = any(request.batch_size == SEARCHED for request in wanted)
    several = len(set(options["dtype"])) > 1
    if options["train"] or options["peer"] or searched or several:
        raise UserError(
            "--model sdtps measures stages of inference, at given batch sizes and one "
            "dtype: for --train, --peer, auto or more dtypes take --model demo"
        )


def _stages(
    rows: Sequence[measure.Row], wanted: Sequence[Request], options: Options
) -> list[sdtps.StageRow]:
    """Measure the stages at each batch size; the CSV has them after the rows."""
    arguments = parse_arguments(options["set"])
    timing = latency.Timing(
        options["warmup"], options["repeats"], options["max_seconds"]
    )
    stages: list[sdtps.StageRow] = []
    for request in wanted:
        if request.name != sdtps.NAME:
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

    measured = [row for row in rows if row.latency and row.flops and row.parameters]
    if not measured:
        print(f"{path} is not drawn: no row has FLOPs, parameters and a latency")
        return
    first = measured[0]
    same = (first.batch_size, first.dtype, first.mode)
    points = [
        {
            "name": row.model,
            "gflops": row.flops / row.batch_size / 1e9,
            "latency_ms": 1e3 * row.latency.median / row.batch_size,
            "parameters": row.parameters,
        }
        for row in measured
        if row.latency and row.flops and (row.batch_size, row.dtype, row.mode) == same
    ]
    label = (
        f"{first.mode}, {first.dtype}, batch {first.batch_size}: "
        f"median ms per image on {first.device}"
    )
    plots.latency_over_flops(points, path, label)
    print(f"{path} shows latency over FLOPs")
