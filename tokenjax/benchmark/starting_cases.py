"""What `tokenjax starting` starts, and how a row of it is said.

Nothing here starts jax: on a GPU its memory is for the processes that are measured.
"""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from tokenjax import config_files, models
from tokenjax.benchmark import measure
from tokenjax.benchmark.chosen_models import choose as choose_models
from tokenjax.benchmark.starting import OTHER, PARTS, PYTHON, Case, Started
from tokenjax.errors import UserError
from tokenjax.written_arguments import read_model

ONE_CALL = ("--warmup=0", "--repeats=1")
LIBRARIES = ("jax", "jaxlib", "flax", "numpy")


def choose(options: Mapping[str, Any]) -> list[Case]:
    """Return the models of --models and the configurations of --configs.

    Raises: UserError for one that is not there, or a dtype that is none.
    """
    if options["dtype"] not in measure.DTYPES:
        valid = ", ".join(measure.DTYPES)
        raise UserError(f"--dtype must be one of {valid}, got {options['dtype']!r}")
    for spec in options["configs"]:
        config_files.load_config(spec)
    written = options["models"]
    if not written and not options["configs"]:
        written = all_models()
    given = {"set": [], "model": None, "models": written}
    chosen = choose_models(given) if written else {}
    for model in chosen.values():
        measure.argument_names(model.name)
    flags = [
        *ONE_CALL,
        f"--batch_size={options['batch_size']}",
        f"--dtype={options['dtype']}",
        f"--image_size={options['image_size']}",
        *(["--train"] if options["train"] else []),
    ]
    asked = {read_model(text, "--models").label for text in written}
    cases = [  # sdtps brings in its model, which has a row where it is asked for
        Case(label, "bench", (f"--models={label}", *flags))
        for label in chosen
        if label in asked
    ]
    return [*cases, *(Case(s, "train", (f"--config={s}",)) for s in options["configs"])]


def all_models() -> list[str]:
    """Return every model once, under its own name."""
    return [
        name
        for name in measure.names()
        if name == measure.SDTPS or models.canonical_name(name) == name
    ]


def about() -> dict[str, Any]:
    """Return with what it is measured."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions}


def conditions(rows: Sequence[Started], found: Mapping[str, Any]) -> str:
    """Return the line under the table."""
    devices = dict.fromkeys(row.device for row in rows if row.device)
    versions = [f"{name} {version}" for name, version in found.items()]
    return f"Measured on {', '.join([*devices, *versions])}."


def sentence(row: Started) -> str:
    """Say what one process took."""
    cache = "warm" if row.warm else "cold"
    parts = ", ".join(f"{n} {row.parts[n]:.1f}" for n in (PYTHON, *PARTS, OTHER))
    end = f"; {row.problem}" if row.problem else ""
    return (
        f"{row.name} ({row.command}, {cache}): {row.seconds:.1f} s ({parts}; "
        f"{row.programs} programs){end}"
    )
