"""Measure the time from starting a command to its first result.

    tokenjax starting                                   # bench, every model
    tokenjax starting --models vdpa,vit_base_patch16 --warm --csv starting.csv
    tokenjax starting --models vdpa --train --batch_size 64 --dtype bfloat16
    tokenjax starting --configs configs/vdpa.py,configs/routing.py
    tokenjax starting --minutes 5 --seconds_each 60 --json starting.json

Each model in a process of its own with an empty compilation cache: imports, tracing,
lowering, compiling and the rest, to the first row of `bench` or the first step of
`train`. --minutes ends all, --seconds_each each. A row is written when it is there.
"""

import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line, path_flags

COMPUTES = False  # its processes do


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is started, and for how long."""
    options: Any = {"flag_values": values}
    from tokenjax.benchmark.chosen_models import define_list

    text = "Of bench: vdpa(depth=4),vit; every one if neither these nor --configs."
    define_list("models", text, values)
    flags.DEFINE_list("configs", [], "Of train: configs/NAME.py[:variant].", **options)
    flags.DEFINE_bool("train", False, "A step of bench's optimiser.", **options)
    flags.DEFINE_integer("batch_size", 1, "Images per call of bench.", 1, **options)
    flags.DEFINE_string("dtype", "float32", "Of bench.", **options)
    flags.DEFINE_integer("image_size", 0, "Of bench; 0: the model's own.", 0, **options)
    flags.DEFINE_bool("warm", False, "Again, with the cache that is left.", **options)
    flags.DEFINE_float("minutes", 60.0, "For all of them.", 0.0, **options)
    flags.DEFINE_float("seconds_each", 300.0, "For one of them.", 0.0, **options)
    path_flags.define("csv", None, "Also write the table to this file.", values)
    path_flags.define("json", None, "Write everything to this file.", values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Start them, print the table and write the files.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax import tables
    from tokenjax.benchmark import starting, starting_cases
    from tokenjax.benchmark.command_line import check_file, check_no_arguments

    check_no_arguments(argv[:1])
    options = values.flag_values_dict()
    for flag in ("csv", "json"):
        check_file(flag, options[flag])
    cases = starting_cases.choose(options)
    about = starting_cases.about()

    def on_row(rows: list[starting.Started]) -> None:
        print(starting_cases.sentence(rows[-1]), flush=True)
        if options["csv"]:
            tables.write_csv(rows, options["csv"], starting.COLUMNS)
        if options["json"]:
            starting.write(options["json"], rows, about, options)

    until = time.time() + 60 * options["minutes"]
    rows = starting.measure(
        cases, options["warm"], options["seconds_each"], until, on_row
    )
    print(starting.table(rows))
    print(starting_cases.conditions(rows, about))
    missing = [case.name for case in cases if case.name not in {r.name for r in rows}]
    if missing:
        print(f"not started in {options['minutes']:g} minutes: {', '.join(missing)}")


if __name__ == "__main__":
    command_line.run("starting")
