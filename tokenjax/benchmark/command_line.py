"""The flags of `bench.py`, and what it does with them; `analyze` shares most of it."""

import ast
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags
from tqdm import tqdm

from tokenjax.benchmark import latency, measure, sdtps, table
from tokenjax.errors import UserError


class Request(NamedTuple):
    """One row to measure."""

    name: str
    batch_size: int


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; call it once, before they are parsed."""
    options: Any = {"flag_values": values}
    flags.DEFINE_string("model", None, "Model to measure.", **options)
    flags.DEFINE_list("models", [], "Models to measure: vdpa,vit.", **options)
    flags.DEFINE_integer(
        "image_size", 0, "Pixels a side; 0: the model's own.", 0, **options
    )
    flags.DEFINE_list("batch_size", ["1"], "Images per call: 1,8.", **options)
    flags.DEFINE_enum(
        "dtype", "float32", measure.DTYPES, "Computation dtype.", **options
    )
    flags.DEFINE_integer(
        "warmup", 10, "Calls before the first timed one.", 0, **options
    )
    flags.DEFINE_integer("repeats", 50, "Timed calls.", 1, **options)
    flags.DEFINE_float(
        "max_seconds", 60.0, "Stop timing a row after this long.", 0.001, **options
    )
    flags.DEFINE_string("csv", None, "Also write the rows to this file.", **options)
    flags.DEFINE_multi_string(
        "set", [], "Constructor arguments: depth=4,embed_dim=96.", **options
    )
    flags.register_validator(
        "batch_size",
        lambda sizes: all(re.fullmatch(r"0*[1-9]\d*", size) for size in sizes),
        "must be positive integers, such as 1,8",
        flag_values=values,
    )


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """["depth=4,depths=(2,2)", "pool=gem"] -> {"depth": 4, "depths": (2, 2), ...}.

    Values are Python literals; what is none is kept as a string.

    Raises:
      UserError: a piece without "=".
    """
    arguments = {}
    for text in texts:
        for piece in re.split(r",(?=\s*[A-Za-z_]\w*\s*=)", text):
            key, equals, value = (part.strip() for part in piece.partition("="))
            if not equals or not key.isidentifier():
                raise UserError(f"--set takes key=value[,key=value], got {piece!r}")
            try:
                arguments[key] = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                arguments[key] = value
    return arguments


def parse_pairs(flag: str, texts: Sequence[str]) -> dict[str, str]:
    """["vit=a", "vdpa=b"] -> {"vit": "a", "vdpa": "b"}.

    Raises:
      UserError: a piece that is not name=path, or a name given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, _, path = (part.strip() for part in text.partition("="))
        if not name or not path:
            raise UserError(f"--{flag} takes name=path[,name=path], got {text!r}")
        if name in pairs:
            raise UserError(f"--{flag} names {name!r} twice")
        pairs[name] = path
    return pairs


def requests(options: Mapping[str, Any]) -> list[Request]:
    """The rows asked for, each model with each batch size; with `sdtps` also `demo`.

    Raises:
      UserError: no model.
    """
    named = [options["model"]] if options["model"] else []
    names = list(dict.fromkeys([*named, *options["models"]]))
    if not names:
        valid = measure.names()
        raise UserError(f"name a model: --model {valid[0]}. Valid: {', '.join(valid)}")
    return by_batch_size(sdtps.expand(names), options)


def by_batch_size(names: Sequence[str], options: Mapping[str, Any]) -> list[Request]:
    """Each name with each batch size that is asked for."""
    sizes = [int(size) for size in options["batch_size"]]
    return [Request(name, size) for name in names for size in dict.fromkeys(sizes)]


def check_file(flag: str, path: str | None) -> None:
    """Refuses before measuring what could not be written after it.

    Raises:
      UserError: the path is a directory, or its directory is missing.
    """
    if path is None:
        return
    if pathlib.Path(path).is_dir():
        raise UserError(f"--{flag} {path} is a directory, not a file")
    if not pathlib.Path(path).absolute().parent.is_dir():
        raise UserError(f"--{flag} {path}: its directory does not exist")


def check_no_arguments(argv: Sequence[str]) -> None:
    """Raises: UserError if anything but flags was given."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}: every option is a flag")


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measures what the flags ask for and prints the table.

    Raises:
      UserError: a flag, model or argument that does not fit; before any measuring.
    """
    check_no_arguments(argv)
    options = values.flag_values_dict()
    wanted = requests(options)
    arguments = parse_arguments(options["set"])
    check_file("csv", options["csv"])
    dtype, image_size = options["dtype"], options["image_size"]
    for name in dict.fromkeys(name for name, _ in wanted):
        measure.build(name, arguments, dtype, image_size)
    sizes = [size for name, size in wanted if name == sdtps.NAME]
    if sizes:
        sdtps.check(arguments, dtype, image_size)

    def measure_one(request: Request, timing: latency.Timing) -> measure.Row:
        name, batch_size = request
        return measure.measure_model(
            name, arguments, batch_size, dtype, image_size, timing
        )

    rows = measure_all(wanted, measure_one, options)
    print(table.format_table(rows, options["warmup"]))
    if sizes:
        print("\n" + sdtps.format_stages(_measure_stages(rows, sizes, options)))


def _measure_stages(
    rows: Sequence[measure.Row], sizes: Sequence[int], options: Mapping[str, Any]
) -> list[sdtps.StageRow]:
    """The stages at each batch size; the CSV has them after the rows, when finished."""
    arguments = parse_arguments(options["set"])
    timing = latency.Timing(
        options["warmup"], options["repeats"], options["max_seconds"]
    )
    stages: list[sdtps.StageRow] = []
    for size in sizes:
        stages += sdtps.measure_stages(
            arguments, size, options["dtype"], options["image_size"], timing
        )
        if options["csv"]:
            table.write_csv([*rows, *stages], options["csv"], sdtps.COLUMNS)
    return stages


def measure_all(
    wanted: Sequence[Request],
    measure_one: Callable[[Request, latency.Timing], measure.Row],
    options: Mapping[str, Any],
    columns: Sequence[table.Column] = table.COLUMNS,
) -> list[measure.Row]:
    """Measures row after row under a progress bar; the CSV has every finished row."""
    calls = options["warmup"] + options["repeats"]
    rows: list[measure.Row] = []
    with tqdm(total=calls * len(wanted), unit="call") as bar:
        timing = latency.Timing(
            options["warmup"], options["repeats"], options["max_seconds"], bar.update
        )
        for request in wanted:
            bar.set_description(f"{request.name}, batch {request.batch_size}")
            rows.append(measure_one(request, timing))
            bar.update(calls * len(rows) - bar.n)  # the time budget may skip calls
            if options["csv"]:
                table.write_csv(rows, options["csv"], columns)
    return rows
