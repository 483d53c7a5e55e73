"""Vary a configuration's settings: many runs, one table, figures.

    tokenjax ablate --config configs/routing.py --jobs 2
    tokenjax ablate --config configs/sdtps.py:ablation
    tokenjax ablate --config configs/routing.py --workdir runs/mine --config.epochs=2

What is varied is in the configuration's section `ablation` (see `tokenjax.study.grid`).
The same command goes on where it was cut. `python -m tokenjax.training.ablate` does the
same.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define --config, --workdir, --jobs and --run."""
    command_line.define_config(argv, values)
    command_line.define_workdir(values, "runs/<config name>-<variant>-ablation")
    command_line.define_jobs(values, 1)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run what is missing, then write and print the table.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.study.command import run_study
    from tokenjax.study.grid import make_study

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(values)
    root = pathlib.Path(values.workdir or f"runs/{name}-{variant}-ablation")
    command = [sys.executable, "-m", "tokenjax", "ablate", *argv[1:]]
    run_study(make_study(values.config), root, values.jobs, values.run, command)


if __name__ == "__main__":
    command_line.run("ablate")
