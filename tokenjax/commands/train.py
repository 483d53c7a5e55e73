"""Train the model that a configuration describes.

    tokenjax train --config configs/vdpa.py             # minutes on two CPU cores
    tokenjax train --config configs/vdpa.py:fashion_mnist --workdir runs/mine
    tokenjax train --config configs/vdpa.py --config.optimizer.learning_rate=1e-3
    tokenjax train --config my_config.py --import my_model

The same command goes on where a run was cut, and says so when it is complete.
In a checkout `python train.py` does the same.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define --config and --workdir."""
    command_line.define_config(argv, values)
    command_line.define_workdir(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Train, and print the evaluation.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax import experiment

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(values)
    workdir = pathlib.Path(values.workdir or f"runs/{name}-{variant}")
    summary = experiment.train(values.config, workdir)
    if summary is not None:
        command_line.print_summary(summary, workdir)


if __name__ == "__main__":
    command_line.run("train")
