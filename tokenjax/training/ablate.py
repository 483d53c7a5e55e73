"""Varies a configuration's settings: many training runs, one table, figures.

    python -m tokenjax.training.ablate --config configs/routing.py [--workdir DIR]

What is varied is in the configuration's section `ablation` (see `tokenjax.study.grid`).
The same command goes on where it was cut. Like train.py this is an entry point, which
may import all others.
"""

import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from tokenjax import command_line

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/NAME.py[:variant]")
WORKDIR = flags.DEFINE_string("workdir", "", "default: runs/<name>-<variant>-ablation")
JOBS = flags.DEFINE_integer("jobs", 1, "runs at a time, each on its share of the cores")
RUN = flags.DEFINE_string("run", "", "one run alone, by name (what --jobs start)")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
    """Raises: UserError for whatever a user can mend."""
    from tokenjax.study.command import run_study
    from tokenjax.study.grid import make_study

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(CONFIG)
    root = pathlib.Path(WORKDIR.value or f"runs/{name}-{variant}-ablation")
    command = [sys.executable, "-m", "tokenjax.training.ablate", *sys.argv[1:]]
    study = make_study(CONFIG.value)
    run_study(study, root, JOBS.value, RUN.value, command)


if __name__ == "__main__":
    command_line.run(main)
