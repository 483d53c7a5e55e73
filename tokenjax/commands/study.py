"""Run a study: datasets x variants x seeds, one table, figures.

    tokenjax study --config configs/study_vdpa.py
    tokenjax study --config configs/study_cifar_vit.py --jobs 1
    tokenjax study --config configs/study_imbalance.py --workdir runs/imbalance
    tokenjax study --config my_study.py --import my_model

The same command goes on where it was cut. `python -m tokenjax.study` does the same.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define --config, --workdir, --jobs and --run."""
    command_line.define_config(argv, values, "configs/study_NAME.py[:variant]")
    command_line.define_workdir(values)
    command_line.define_jobs(values, 2)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run what is missing, then write and print the table.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.study.command import run_study

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(values)
    root = pathlib.Path(values.workdir or f"runs/{name}-{variant}")
    command = [sys.executable, "-m", "tokenjax", "study", *argv[1:]]
    run_study(values.config, root, values.jobs, values.run, command)


if __name__ == "__main__":
    command_line.run("study")
