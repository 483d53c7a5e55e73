"""Trains the model that a configuration describes.

    python train.py --config configs/vdpa.py                  # minutes on two CPU cores
    python train.py --config configs/vdpa.py:fashion_mnist --workdir runs/mine
    python train.py --config configs/vdpa.py --config.optimizer.learning_rate=1e-3

The same command goes on where a run was cut, and says so when it is complete.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from tokenjax import command_line

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/NAME.py[:variant]")
WORKDIR = flags.DEFINE_string("workdir", "", "default: runs/<config name>-<variant>")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
    """Raises: UserError for whatever a user can mend."""
    from tokenjax import experiment

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(CONFIG)
    workdir = pathlib.Path(WORKDIR.value or f"runs/{name}-{variant}")
    summary = experiment.train(CONFIG.value, workdir)
    if summary is not None:
        lines = experiment.headline(CONFIG.value, summary)
        command_line.print_summary(lines, summary["split"], workdir)


if __name__ == "__main__":
    command_line.run(main)
