"""What routing saves at inference.

    python -m tokenjax.benchmark.routing
    python -m tokenjax.benchmark.routing --batch_size 1,8,64,256 --csv out.csv \
        --figure out.png
    python -m tokenjax.benchmark.routing --set img_size=64 --encoders lean-32-3
    python -m tokenjax.benchmark.routing --limit 120 --csv out.csv --large \
        --dtype bfloat16 --batch_size 256,1024,64,1 --shares 0.25,0.5,1 \
        --encoders lean-32-2                                  # on an accelerator

Two tables. The routed stage: both networks by dispatch, with exactly the shares asked
for selected, against the big network on every patch. Whole models: both routers, made
to send a quarter of the patches, against full_compute. All are timed in turns.

What is measured is said as it comes, and is in the CSV. `--large` takes the sizes of
`routing_stages.LARGE`, at which an accelerator computes most of the time.
"""

import runpy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax import path_flags, tables
from tokenjax.benchmark import command_line, flops, hardware, latency, measure, turns
from tokenjax.benchmark import routing_stages as stages
from tokenjax.benchmark.session import Options
from tokenjax.errors import UserError
from tokenjax.tables import Column
from tokenjax.written_arguments import read_arguments

STAGE, MODEL = "routed stage", "whole model"
SHARES = ["0", "0.1", "0.25", "0.5", "0.75", "1"]
ENCODERS = ["convolutional-64-2", "lean-32-2", "lean-40-2"]
WARMUP = 3  # rounds before the first timed one


Number = TypeVar("Number", int, float)
Makers = Mapping[str, Callable[[int], list[turns.Contestant]]]  # of a batch size


def share_of(cost: turns.Cost) -> float:
    """Return the share of the patches that the big network computed."""
    return float(cost.labels["share"])


def _std_ms(cost: turns.Cost) -> float | None:
    return None if cost.latency.std is None else 1e3 * cost.latency.std


COLUMNS: tuple[Column[turns.Cost], ...] = (
    Column("Comparison", lambda cost: cost.comparison),
    Column("Model", lambda cost: cost.name),
    Column("Encoder", lambda cost: cost.labels["encoder"]),
    Column("Batch", lambda cost: cost.batch_size, "d"),
    Column("Selected(%)", lambda cost: 100 * share_of(cost), ".1f"),
    Column("MFLOPs", lambda cost: 1e-6 * cost.flops, ".2f"),
    Column("Latency_median(ms)", lambda cost: 1e3 * cost.latency.median, ".3f"),
    Column("Latency_std(ms)", _std_ms, ".3f"),
    Column("Images/s", lambda cost: cost.images_per_second, ".0f"),
    Column("Ratio", lambda cost: cost.ratio, ".3f"),
    Column("Ideal", lambda cost: cost.ideal, ".3f"),
)
NOTES = {
    STAGE: "Both networks on their own patches; Ratio: to the big network alone.",
    MODEL: "Whole models; Ratio: to full_compute (the first row).",
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags; call it once, before they are parsed."""
    flags.DEFINE_list(
        "batch_size", ["256"], "Images per call: 1,8.", flag_values=values
    )
    flags.DEFINE_list(
        "shares",
        SHARES,
        "Of the patches, to select; none: no stage.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "encoders",
        ENCODERS,
        "kind-channels-layers,...; none: no models.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "dtype", "float32", ", ".join(measure.DTYPES), flag_values=values
    )
    flags.DEFINE_integer("rounds", 30, "Timed calls of each.", 1, flag_values=values)
    flags.DEFINE_float(
        "max_seconds",
        120.0,
        "Stop a comparison after this long.",
        0.001,
        flag_values=values,
    )
    flags.DEFINE_float(
        "limit",
        float("inf"),
        "Begin no further comparison after so many seconds.",
        0.001,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "large",
        False,
        "Sizes at which an accelerator computes; --set goes before.",
        flag_values=values,
    )
    path_flags.define("csv", None, "Also write the rows to this file.", values)
    path_flags.define("figure", None, "PNG of the routed stage's ratios.", values)
    flags.DEFINE_multi_string(
        "set",
        [],
        "Arguments of all models: img_size=64,patch_grid=8.",
        flag_values=values,
    )


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measure, print the tables, write the files.

    Raises:
      UserError: a flag that does not fit, before any measuring.
    """
    command_line.check_no_arguments(argv)
    options = values.flag_values_dict()
    dtype, arguments = options["dtype"], read_arguments(options["set"], "--set")
    if options["large"]:
        arguments = {**stages.LARGE, **arguments}
    sizes = parse_numbers("batch_size", options["batch_size"], int, 1)
    shares = parse_numbers("shares", options["shares"], float, 0, 1)
    encoders = [parse_encoder(text) for text in options["encoders"]]
    if not sizes or not (shares or encoders):
        raise UserError("nothing to measure: give --batch_size, --shares, --encoders")
    check(arguments, encoders, dtype)
    command_line.check_file("csv", options["csv"])
    check_figure(options["figure"], bool(shares))
    makers: dict[str, Callable[[int], list[turns.Contestant]]] = {}
    if shares:
        makers[STAGE] = lambda size: stages.routed_stage(arguments, shares, size, dtype)
    if encoders:
        makers[MODEL] = lambda size: stages.whole_models(
            arguments, encoders, size, dtype
        )
    costs = measure_all(makers, list(dict.fromkeys(sizes)), options)
    print(describe(costs, dtype))
    if options["figure"]:
        draw(costs, dtype, options["figure"])
        print(f"{options['figure']} shows the routed stage")


def measure_all(
    makers: Makers, batch_sizes: Sequence[int], options: Options
) -> list[turns.Cost]:
    """Measure under a progress bar; what is finished is printed and in the CSV.

    The first comparison is made whatever the limit.
    """
    rounds = options["rounds"]
    wanted = [(name, size) for size in batch_sizes for name in makers]
    costs: list[turns.Cost] = []
    stop = time.perf_counter() + options["limit"]
    with tqdm(total=rounds * len(wanted), unit="round") as bar:
        timing = latency.Timing(WARMUP, rounds, options["max_seconds"], bar.update)
        for done, (name, size) in enumerate(wanted, 1):
            if costs and time.perf_counter() > stop:
                bar.write(f"{name}, batch {size}: left out, --limit is over")
                continue
            bar.set_description(f"{name}, batch {size}")  # compiling comes first
            measured = turns.compare(name, makers[name](size), size, timing)
            bar.update(rounds * done - bar.n)  # the time budget may skip rounds
            bar.write("\n".join(map(sentence, measured)))
            costs += measured
            if options["csv"]:
                tables.write_csv(costs, options["csv"], COLUMNS)
    return costs


def sentence(cost: turns.Cost) -> str:
    """Say a row in one line, for who does not wait for the table."""
    return (
        f"{cost.comparison}, batch {cost.batch_size}: {cost.name}, "
        f"{100 * share_of(cost):.1f} % selected: {cost.ratio:.3f} of the first, "
        f"{1e3 * cost.latency.median:.3f} ms a call"
    )


def parse_numbers(
    flag: str,
    texts: Sequence[str],
    kind: type[Number],
    least: float,
    most: float = np.inf,
) -> list[Number]:
    """Turn ["0", "0.5"] into [0.0, 0.5].

    Raises:
      UserError: what is no such number, or out of range.
    """
    numbers = []
    for text in texts:
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            what = (
                f"numbers within {least}..{most}"
                if kind is float
                else "positive integers"
            )
            raise UserError(f"--{flag} takes {what}, got {text!r}")
        numbers.append(number)
    return numbers


def parse_encoder(text: str) -> stages.Encoder:
    """Turn "lean-32-2" into its kind, channels and layers.

    Raises:
      UserError: it is not of this form.
    """
    kind, *numbers = text.split("-")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise UserError(
            f"--encoders takes kind-channels-layers, such as {ENCODERS[1]}, "
            f"got {text!r}"
        )
    return stages.Encoder(kind, *map(int, numbers))


def check(
    arguments: Mapping[str, object], encoders: Sequence[stages.Encoder], dtype: str
) -> None:
    """Refuse arguments, encoders or a dtype that no model takes.

    Raises: UserError.
    """
    own = ("router", "budget", *stages.Encoder("", 0, 0).arguments())
    for key in own:
        if key in arguments:
            raise UserError(f"--set {key}: it is this benchmark that sets it")
    measure.build("attention_routing", arguments, dtype, 0)
    for encoder in encoders:
        chosen = {**arguments, **encoder.arguments()}
        measure.build("attention_routing", chosen, dtype, 0)


def check_figure(figure: str | None, with_stage: bool) -> None:
    """Refuse a figure that could not be drawn.

    Raises: UserError.
    """
    if figure is None:
        return
    if not with_stage:
        raise UserError("--figure needs --shares")
    if not figure.endswith(".png"):
        raise UserError(f"--figure {figure} must end in .png")
    command_line.check_file("figure", figure)


def describe(costs: Sequence[turns.Cost], dtype: str) -> str:
    """Say how the numbers were found, with a table of each comparison."""
    rounds = "-".join(map(str, sorted({cost.latency.repeats for cost in costs})))
    lines = [
        f"Hardware: {hardware.describe()}; jax {jax.__version__}; {dtype}.",
        f"{flops.CONVENTION}.",
        f"Latency: one batch, {rounds} rounds in turns, compilation excluded. Ratio: "
        "median over the rounds; Ideal: by FLOPs.",
    ]
    for comparison, note in NOTES.items():
        rows = [cost for cost in costs if cost.comparison == comparison]
        if rows:
            columns = [c for c in COLUMNS[1:] if any(c.value(r) != "" for r in rows)]
            lines += ["", note, "", *tables.text_lines(rows, columns)]
    return "\n".join(lines)


def draw(costs: Sequence[turns.Cost], dtype: str, path: str) -> None:
    """Draw the figure of the routed stage."""
    from tokenjax import plots  # matplotlib, needed at the end alone

    points = [
        {
            "batch_size": cost.batch_size,
            "share": share_of(cost),
            "ratio": cost.ratio,
            "ideal": cost.ideal,
        }
        for cost in costs
        if cost.name == stages.ROUTED
    ]
    plots.routing_cost(points, path, f"{hardware.describe()}, {dtype}")


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.routing_cost", run_name="__main__")
