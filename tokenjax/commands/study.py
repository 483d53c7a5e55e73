"""Run a study, or an ablation: many runs, one table, figures.

    tokenjax study --config configs/study_vdpa.py
    tokenjax study --config configs/study_cifar_vit.py --jobs 1
    tokenjax study --config configs/study_imbalance.py --workdir runs/imbalance
    tokenjax study --config configs/routing.py --jobs 2       # its section `ablation`
    tokenjax study --config configs/sdtps.py:ablation
    tokenjax study --config my_study.py --import my_model

The same command goes on where it was cut. `python -m tokenjax.study` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define --config, --workdir, --jobs and --run."""
    from tokenjax.study import command

    command.define_flags(argv, values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run what is missing, then write and print the table.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.study import command

    command.main(argv, values)


if __name__ == "__main__":
    command_line.run("study")
