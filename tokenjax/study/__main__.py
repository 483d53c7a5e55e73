"""Runs a study: see `tokenjax.study`."""

import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from tokenjax import command_line

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/study_NAME.py")
WORKDIR = flags.DEFINE_string("workdir", "", "default: runs/<config name>-<variant>")
JOBS = flags.DEFINE_integer("jobs", 2, "runs at a time, each on its share of the cores")
RUN = flags.DEFINE_string("run", "", "one run alone, by name (what --jobs start)")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
    """Raises: UserError for whatever a user can mend."""
    from tokenjax.study.command import run_study

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(CONFIG)
    root = pathlib.Path(WORKDIR.value or f"runs/{name}-{variant}")
    command = [sys.executable, "-m", "tokenjax.study", *sys.argv[1:]]
    run_study(CONFIG.value, root, JOBS.value, RUN.value, command)


if __name__ == "__main__":
    command_line.run(main)
