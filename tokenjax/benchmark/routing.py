"""What routing saves at inference.

    python -m tokenjax.benchmark.routing
    python -m tokenjax.benchmark.routing --batch_size 1,8,64,256 --csv out.csv \
        --figure out.png
    python -m tokenjax.benchmark.routing --set img_size=64 --encoders lean-32-3

Two tables. The routed stage: both networks by dispatch, with exactly the shares asked
for selected, against the big network on every patch. Whole models: both routers, made
to send a quarter of the patches, against full_compute. All are timed in turns.
"""

import operator
import runpy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax.benchmark import command_line, hardware, latency, measure, table, turns
from tokenjax.benchmark import routing_stages as stages
from tokenjax.errors import UserError

STAGE, MODEL = "routed stage", "whole model"
SHARES = ["0", "0.1", "0.25", "0.5", "0.75", "1"]
ENCODERS = ["convolutional-64-2", "lean-32-2", "lean-40-2"]
WARMUP = 3  # rounds before the first timed one


def _value(attribute: str, factor: float | None = None) -> Callable[[Any], Any]:
    value = operator.attrgetter(attribute)
    return value if factor is None else lambda cost: factor * value(cost)


COLUMNS = (
    table.Column("Comparison", _value("comparison"), "s"),
    table.Column("Model", _value("name"), "s"),
    table.Column("Encoder", _value("encoder"), "s"),
    table.Column("Batch", _value("batch_size"), "d"),
    table.Column("Selected(%)", _value("share", 100), ".1f"),
    table.Column("MFLOPs", _value("flops", 1e-6), ".2f"),
    table.Column("Latency_median(ms)", _value("latency.median", 1e3), ".3f"),
    table.Column("Latency_std(ms)", _value("latency.std", 1e3), ".3f"),
    table.Column("Images/s", _value("images_per_second"), ".0f"),
    table.Column("Ratio", _value("ratio"), ".3f"),
    table.Column("Ideal", _value("ideal"), ".3f"),
)
NOTES = {
    STAGE: "Both networks on their own patches; Ratio: to the big network alone.",
    MODEL: "Whole models; Ratio: to full_compute (the first row).",
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; call it once, before they are parsed."""
    options: Any = {"flag_values": values}
    flags.DEFINE_list("batch_size", ["256"], "Images per call: 1,8.", **options)
    flags.DEFINE_list(
        "shares", SHARES, "Of the patches, to select; none: no stage.", **options
    )
    flags.DEFINE_list(
        "encoders", ENCODERS, "kind-channels-layers,...; none: no models.", **options
    )
    flags.DEFINE_string("dtype", "float32", "float32 or bfloat16.", **options)
    flags.DEFINE_integer("rounds", 30, "Timed calls of each.", 1, **options)
    flags.DEFINE_float(
        "max_seconds", 120.0, "Stop a comparison after this long.", 0.001, **options
    )
    flags.DEFINE_string("csv", None, "Also write the rows to this file.", **options)
    flags.DEFINE_string("figure", None, "PNG of the routed stage's ratios.", **options)
    flags.DEFINE_multi_string(
        "set", [], "Arguments of all models: img_size=64,patch_grid=8.", **options
    )


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measures, prints the tables, writes the files.

    Raises:
      UserError: a flag that does not fit, before any measuring.
    """
    command_line.check_no_arguments(argv)
    options = values.flag_values_dict()
    dtype, arguments = options["dtype"], command_line.parse_arguments(options["set"])
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
    makers: Mapping[str, Callable[[int], list[turns.Contestant]]],
    batch_sizes: Sequence[int],
    options: Mapping[str, Any],
) -> list[turns.Cost]:
    """Comparison after comparison under a progress bar; the CSV has those finished."""
    rounds = options["rounds"]
    wanted = [(name, size) for name in makers for size in batch_sizes]
    costs: list[Any] = []
    with tqdm(total=rounds * len(wanted), unit="round") as bar:
        timing = latency.Timing(WARMUP, rounds, options["max_seconds"], bar.update)
        for done, (name, size) in enumerate(wanted, 1):
            bar.set_description(f"{name}, batch {size}")  # compiling comes first
            costs += turns.compare(name, makers[name](size), size, timing)
            bar.update(rounds * done - bar.n)  # the time budget may skip rounds
            if options["csv"]:
                table.write_csv(costs, options["csv"], COLUMNS)
    return costs


def parse_numbers(
    flag: str, texts: Sequence[str], kind: type, least: float, most: float = np.inf
) -> list[Any]:
    """["0", "0.5"] -> [0.0, 0.5].

    Raises:
      UserError: what is no such number, or out of range.
    """
    numbers = []
    for text in texts:
        try:
            numbers.append(kind(text))
        except ValueError:
            numbers.append(np.nan)
        if not least <= numbers[-1] <= most:
            what = (
                f"numbers within {least}..{most}"
                if kind is float
                else "positive integers"
            )
            raise UserError(f"--{flag} takes {what}, got {text!r}")
    return numbers


def parse_encoder(text: str) -> stages.Encoder:
    """ "lean-32-2" -> its kind, channels and layers.

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
    arguments: Mapping[str, Any], encoders: Sequence[stages.Encoder], dtype: str
) -> None:
    """Raises: UserError for arguments, encoders or a dtype that no model takes."""
    own = ("router", "budget", *stages.Encoder("", 0, 0).arguments())
    for key in own:
        if key in arguments:
            raise UserError(f"--set {key}: it is this benchmark that sets it")
    measure.build("attention_routing", arguments, dtype, 0)
    for encoder in encoders:
        chosen = {**arguments, **encoder.arguments()}
        measure.build("attention_routing", chosen, dtype, 0)


def check_figure(figure: str | None, with_stage: bool) -> None:
    """Raises: UserError if it could not be drawn."""
    if figure is None:
        return
    if not with_stage:
        raise UserError("--figure needs --shares")
    if not figure.endswith(".png"):
        raise UserError(f"--figure {figure} must end in .png")
    command_line.check_file("figure", figure)


def describe(costs: Sequence[turns.Cost], dtype: str) -> str:
    """How the numbers were found, and a table of each comparison."""
    rounds = "-".join(map(str, sorted({cost.latency.repeats for cost in costs})))
    lines = [
        f"Hardware: {hardware.describe()}; jax {jax.__version__}; {dtype}.",
        "MFLOPs: of one image, 2 per multiply-add, products and convolutions only.",
        f"Latency: one batch, {rounds} rounds in turns, compilation excluded. Ratio: "
        "median over the rounds; Ideal: by FLOPs.",
    ]
    for comparison, note in NOTES.items():
        rows: list[Any] = [cost for cost in costs if cost.comparison == comparison]
        if rows:
            columns = [c for c in COLUMNS[1:] if any(c.value(r) != "" for r in rows)]
            lines += ["", note, "", *table.format_rows(rows, columns)]
    return "\n".join(lines)


def draw(costs: Sequence[turns.Cost], dtype: str, path: str) -> None:
    """The figure of the routed stage."""
    from tokenjax import plots  # matplotlib, needed at the end alone

    keys = ("batch_size", "share", "ratio", "ideal")
    points = [
        {key: getattr(cost, key) for key in keys}
        for cost in costs
        if cost.name == stages.ROUTED
    ]
    plots.routing_cost(points, path, f"{hardware.describe()}, {dtype}")


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.routing_cost", run_name="__main__")
