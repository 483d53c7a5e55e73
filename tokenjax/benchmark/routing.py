"""What routing saves at inference, measured in turns.

    python -m tokenjax.benchmark.routing
    python -m tokenjax.benchmark.routing --batch_size 1,8,64,256 --csv out.csv \
        --figure out.png
    python -m tokenjax.benchmark.routing --set img_size=64 --encoders lean-32-3

Two tables. The routed stage: both networks by dispatch, with exactly the shares asked
for selected, against the big network on every patch. Whole models: each router made to
send a quarter of the patches, against full_compute. A ratio is the median of the ratios
within rounds, so that what else the machine does hits both sides.
"""

import dataclasses
import operator
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax.benchmark import command_line, hardware, latency, measure, table
from tokenjax.benchmark import routing_stages as stages
from tokenjax.errors import UserError

WARMUP = 3  # rounds before the first timed one
STAGE, MODEL = "routed stage", "whole model"
SHARES = ["0", "0.1", "0.25", "0.5", "0.75", "1"]
ENCODERS = ["convolutional-64-2", "lean-32-2", "lean-40-2"]
NOT_TO_SET = ("router", "budget", *stages.Encoder("", 0, 0).arguments())


@dataclasses.dataclass(frozen=True)
class Cost:
    """One row.

    Attributes:
      comparison: STAGE or MODEL.
      name, encoder, share, flops: the contestant's.
      batch_size: images per call.
      latency: seconds of a call.
      ratio: to the first contestant, median over the rounds.
      ideal: what the ratio would be by FLOPs alone.
    """

    comparison: str
    name: str
    encoder: str
    batch_size: int
    share: float
    flops: float
    latency: latency.Latency
    ratio: float
    ideal: float

    @property
    def images_per_second(self) -> float:
        """Batch size over median latency."""
        return self.batch_size / self.latency.median


def _scaled(attribute: str, factor: float) -> Callable[[Any], float]:
    value = operator.attrgetter(attribute)
    return lambda row: factor * value(row)


COLUMNS = (
    table.Column("Comparison", operator.attrgetter("comparison"), "s"),
    table.Column("Model", operator.attrgetter("name"), "s"),
    table.Column("Encoder", operator.attrgetter("encoder"), "s"),
    table.Column("Batch", operator.attrgetter("batch_size"), "d"),
    table.Column("Selected(%)", _scaled("share", 100), ".1f"),
    table.Column("MFLOPs", _scaled("flops", 1e-6), ".2f"),
    table.Column("Latency_median(ms)", _scaled("latency.median", 1e3), ".3f"),
    table.Column("Latency_std(ms)", _scaled("latency.std", 1e3), ".3f"),
    table.Column("Images/s", operator.attrgetter("images_per_second"), ".0f"),
    table.Column("Ratio", operator.attrgetter("ratio"), ".3f"),
    table.Column("Ideal", operator.attrgetter("ideal"), ".3f"),
)
SHOWN = {  # columns in the terminal; a CSV has all
    STAGE: [column for column in COLUMNS[1:] if column.heading != "Encoder"],
    MODEL: COLUMNS[1:],
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; call it once, before they are parsed."""
    options: Any = {"flag_values": values}
    flags.DEFINE_list("batch_size", ["256"], "Images per call: 1,8,64.", **options)
    flags.DEFINE_list(
        "shares", SHARES, "Of the patches, to select; empty: no stage.", **options
    )
    flags.DEFINE_list(
        "encoders", ENCODERS, "kind-channels-layers; empty: no models.", **options
    )
    flags.DEFINE_enum(
        "dtype", "float32", measure.DTYPES, "Computation dtype.", **options
    )
    flags.DEFINE_integer("rounds", 30, "Calls of each contestant.", 1, **options)
    flags.DEFINE_float(
        "max_seconds", 120.0, "Stop a comparison after this long.", 0.001, **options
    )
    flags.DEFINE_string("csv", None, "Also write the rows to this file.", **options)
    flags.DEFINE_string("figure", None, "Draw ratios over shares: PNG.", **options)
    flags.DEFINE_multi_string(
        "set", [], "Arguments of every model: img_size=64,patch_grid=8.", **options
    )


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Raises: UserError for whatever does not fit, before any measuring."""
    command_line.check_no_arguments(argv)
    options = values.flag_values_dict()
    batch_sizes = _parse("batch_size", options, r"0*[1-9]\d*", int, "positive integers")
    shares = _parse("shares", options, r"0*(1|1?\.0*|0|0?\.\d+)", float, "in 0..1")
    encoders = parse_encoders(options["encoders"])
    arguments = _checked(options, encoders)
    figure = options["figure"] and pathlib.Path(options["figure"])
    rows: list[Any] = []
    ...
