"""The flags of `bench.py`, and what it does with them; `analyze` shares most of it."""

import pathlib
import re
from collections.abc import Sequence

from absl import flags

from tokenjax import path_flags, paths
from tokenjax.benchmark import measure
from tokenjax.benchmark.chosen_models import define_list
from tokenjax.benchmark.session import SEARCHED, Options, Request
from tokenjax.errors import UserError
from tokenjax.written_arguments import split_pair

PEERS = ("torch", "torch_eager")  # torch: torch.compile too


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define what all commands share; call it once, before the flags are parsed."""
    flags.DEFINE_string("model", None, "Model to measure.", flag_values=values)
    text = "Models to measure, each with arguments of its own: vdpa(depth=4),vit."
    define_list("models", text, values)
    flags.DEFINE_integer(
        "image_size", 0, "Pixels a side; 0: the model's own.", 0, flag_values=values
    )
    flags.DEFINE_list(
        "batch_size", ["1"], "Images per call: 1,8; or auto.", flag_values=values
    )
    flags.DEFINE_list(
        "dtype", ["float32"], f"Some of {','.join(measure.DTYPES)}.", flag_values=values
    )
    flags.DEFINE_integer(
        "warmup", 10, "Calls before the first timed one.", 0, flag_values=values
    )
    flags.DEFINE_integer("repeats", 50, "Timed calls.", 1, flag_values=values)
    flags.DEFINE_integer(
        "threads",
        0,
        "Cores of the CPU to use, PyTorch's too; 0: all that this process may use.",
        0,
        flag_values=values,
    )
    flags.DEFINE_float(
        "max_seconds",
        60.0,
        "Stop timing a row after this long.",
        0.001,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "queue",
        None,
        "Also time calls that are queued, several between two waits, so that the "
        "device's time is seen without Python's; by default on accelerators alone.",
        flag_values=values,
    )
    path_flags.define("csv", None, "Also write the rows to this file.", values)
    text = "Arguments for all models: depth=4,embed_dim=96."
    flags.DEFINE_multi_string("set", [], text, flag_values=values)
    flags.register_validator(
        "batch_size",
        lambda sizes: all(
            size == "auto" or re.fullmatch(r"0*[1-9]\d*", size) for size in sizes
        ),
        "must be positive integers, such as 1,8, or auto",
        flag_values=values,
    )
    flags.register_validator(
        "dtype",
        lambda dtypes: dtypes and set(dtypes) <= set(measure.DTYPES),
        f"must be some of {', '.join(measure.DTYPES)}",
        flag_values=values,
    )


def define_bench_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags of `define_flags`, and bench.py's own."""
    define_flags(values)
    flags.DEFINE_bool(
        "train", False, "Time a step of the optimiser.", flag_values=values
    )
    flags.DEFINE_enum(
        "peer",
        None,
        PEERS,
        "Also time PyTorch's, in turns with ours.",
        flag_values=values,
    )
    text = "Also with fewer tokens, each way a row: none,tome:r=13,evit:keep_rate=0.7."
    define_list("reduction", text, values)
    text = "Count what programs hold, run nothing: cuda,tpu,rocm,cpu."
    flags.DEFINE_list("programs", [], text, flag_values=values)
    path_flags.define("json", None, "Write everything to this file.", values)
    path_flags.define("markdown", None, "Write the table for a document.", values)
    path_flags.define("figure", None, "Draw latency over FLOPs: PNG.", values)
    text = "Profile some calls of each row into this directory: where its time goes."
    path_flags.define("trace", None, text, values)
    path_flags.define("compare", None, "Say what changed since a --json.", values)


def parse_pairs(flag: str, texts: Sequence[str]) -> dict[str, str]:
    """Turn ["vit=a", "vdpa=b"] into {"vit": "a", "vdpa": "b"}.

    Raises:
      UserError: a piece that is not name=path, or a name given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, path = split_pair(text, f"--{flag}")
        if not name or not path:
            raise UserError(f"--{flag} takes name=path[,name=path], got {text!r}")
        if name in found:
            raise UserError(f"--{flag} names {name!r} twice")
        found[name] = str(paths.resolve(path, f"--{flag} {name}"))
    return found


def by_batch_size(names: Sequence[str], options: Options) -> list[Request]:
    """Join each name with each dtype and batch size that is asked for."""
    sizes = [SEARCHED if s == "auto" else int(s) for s in options["batch_size"]]
    return [
        Request(name, size, dtype, bool(options.get("train")))
        for name in names
        for dtype in dict.fromkeys(options["dtype"])
        for size in dict.fromkeys(sizes)
    ]


def check_file(flag: str, path: str | None) -> None:
    """Refuse before measuring what could not be written after it.

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
    """Refuse whatever is no flag.

    Raises: UserError.
    """
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}: every option is a flag")
