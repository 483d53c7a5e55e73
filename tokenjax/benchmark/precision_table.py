"""What `tokenjax precision` does: models in half precision, as a table and as files."""

import dataclasses
import importlib.util
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax import path_flags, storage, tables
from tokenjax.benchmark import (
    hardware,
    measure,
    precision,
    report,
    torch_peers,
    torch_programs,
)
from tokenjax.benchmark.chosen_models import Chosen, choose, define_list
from tokenjax.benchmark.command_line import check_file, check_no_arguments
from tokenjax.benchmark.precision import Precision
from tokenjax.benchmark.session import Options
from tokenjax.errors import UserError
from tokenjax.tables import Column

FORMAT = 1
DEFAULT = (  # one of each kind
    *("vit_small_patch16", "vdpa", "vit", "linear_vit", "dynamic_vit"),
    *("attention_routing", "demo", "resnet50", "swin_tiny", "convnextv2_tiny"),
    *("maxvit_tiny", "clip_vit", "camera_vit", "t2t_vit_14"),
)
PEER, NO_PEER = "torch", "none"


def _mean(errors: Sequence[float] | None) -> float | None:
    return 100 * float(np.mean(errors)) if errors else None


def _spread(errors: Sequence[float]) -> float | None:
    return 100 * float(np.std(errors, ddof=1)) if len(errors) > 1 else None


def _peers(row: Precision, which: str) -> Sequence[float] | None:
    return getattr(row.peer, which) if row.peer else None


COLUMNS: tuple[Column[Precision], ...] = (
    Column("Model", lambda row: row.model),
    Column("Inputs", lambda row: row.inputs),
    Column("Dtype", lambda row: row.dtype),
    Column("Outputs(%)", lambda row: _mean(row.ours.outputs), ".3f"),
    Column("Deviation(%)", lambda row: _spread(row.ours.outputs), ".3f"),
    Column("PyTorch(%)", lambda row: _mean(_peers(row, "outputs")), ".3f"),
    Column("Ours/theirs", lambda row: row.ratio, ".2f"),
    Column("Gradients(%)", lambda row: _mean(row.ours.gradients), ".3f"),
    Column("PyTorch's(%)", lambda row: _mean(_peers(row, "gradients")), ".3f"),
    Column("Gradients' ratio", lambda row: row.gradient_ratio, ".2f"),
)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags; call it once, before they are parsed."""
    flags.DEFINE_string("model", None, "Model to measure.", flag_values=values)
    text = "Models to measure; none: one of each kind."
    define_list("models", text, values)
    text = "Arguments for all models: depth=4,embed_dim=96."
    flags.DEFINE_multi_string("set", [], text, flag_values=values)
    text = f"Some of {','.join(precision.HALVES)}."
    flags.DEFINE_list("dtype", ["bfloat16"], text, flag_values=values)
    flags.register_validator(
        "dtype",
        lambda dtypes: dtypes and set(dtypes) <= set(precision.HALVES),
        f"must be some of {', '.join(precision.HALVES)}",
        flag_values=values,
    )
    flags.DEFINE_integer("batch_size", 4, "Images per call.", 1, flag_values=values)
    flags.DEFINE_integer(
        "image_size", 0, "Pixels a side; 0: the model's own.", 0, flag_values=values
    )
    flags.DEFINE_integer("seeds", 3, "Draws of weights.", 1, flag_values=values)
    flags.DEFINE_bool("gradients", True, "Measure those too.", flag_values=values)
    text = "What stands beside ours; left out: torch where it is installed."
    flags.DEFINE_enum("peer", None, [PEER, NO_PEER], text, flag_values=values)
    path_flags.define("csv", None, "Also write the rows to this file.", values)
    path_flags.define("json", None, "Write everything to this file.", values)
    path_flags.define("markdown", None, "Write the table for a document.", values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measure what the flags ask for, print the table and write the files.

    Raises: UserError for a flag, model or argument that does not fit.
    """
    check_no_arguments(argv)
    options = values.flag_values_dict()
    if not options["model"] and not options["models"]:
        options["models"] = list(DEFAULT)
    chosen = choose(options)
    peer = _check(options, chosen)
    rows = measure_all(options, chosen, peer)
    print(describe(rows))
    if options["json"]:
        found = [dataclasses.asdict(row) for row in rows]
        where = report.environment()
        whole = {"format": FORMAT, "environment": where, "rows": found}
        storage.write_json(pathlib.Path(options["json"]), whole)
    if options["markdown"]:
        storage.write_text(
            pathlib.Path(options["markdown"]), tables.markdown(rows, _columns(rows))
        )


def measure_all(options: Options, chosen: Chosen, peer: bool) -> list[Precision]:
    """Measure under a progress bar; the CSV has the rows that are finished."""
    wanted = [(label, dtype) for label in chosen for dtype in options["dtype"]]
    rows: list[Precision] = []
    for label, dtype in (bar := tqdm(wanted, unit="model")):
        bar.set_description(f"{label}, {dtype}")
        name, arguments = chosen[label]
        row = precision.measure(
            name,
            arguments,
            dtype,
            options["batch_size"],
            options["image_size"],
            options["seeds"],
            options["gradients"],
            peer,
        )
        rows.append(dataclasses.replace(row, model=label))
        if options["csv"]:
            tables.write_csv(rows, options["csv"], COLUMNS)
    return rows


def describe(rows: Sequence[Precision]) -> str:
    """Return the table, and how it was found."""
    seeds = len(rows[0].ours.outputs)
    lines = [
        *tables.text_lines(rows, _columns(rows)),
        "",
        f"Hardware: {hardware.describe()}; means over {seeds} draws of wide weights.",
        "Outputs, Gradients: norm of the difference to float32 over the norm.",
    ]
    sources = dict.fromkeys(row.source for row in rows if row.source)
    lines += [f"PyTorch, under autocast: {source}." for source in sources]
    return "\n".join(lines)


def _columns(rows: Sequence[Precision]) -> list[Column[Precision]]:
    """Return the columns that some row has a value in."""
    return [c for c in COLUMNS if any(c.value(row) is not None for row in rows)]


def _check(options: Options, chosen: Chosen) -> bool:
    """Say what can be said before measuring; return whether PyTorch is asked.

    Raises: UserError.
    """
    for flag in ("csv", "json", "markdown"):
        check_file(flag, options[flag])
    peer = options["peer"] == PEER
    if options["peer"] is None:
        peer = importlib.util.find_spec("torch") is not None
    notes = []
    for label, (name, arguments) in chosen.items():
        if name == measure.SDTPS:
            raise UserError(
                f"{name} is a part of {measure.SDTPS_MODEL}: measure that instead"
            )
        module, _ = measure.build(
            name, arguments, precision.FULL, options["image_size"]
        )
        if peer and torch_peers.has_equivalent(name, module):
            torch_peers.check(name, module)
        elif peer:
            notes.append(f"{label}: no PyTorch equivalent here, ours alone")
    if peer:
        notes += [torch_programs.check_dtype(dtype) for dtype in options["dtype"]]
    for note in filter(None, notes):
        print(f"note: {note}", file=sys.stderr, flush=True)
    return peer
