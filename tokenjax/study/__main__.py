"""Runs a study: see `tokenjax.study`."""

import pathlib

from absl import flags
from ml_collections import config_flags

from tokenjax import command_line
from tokenjax.errors import UserError

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/study_NAME.py")
WORKDIR = flags.DEFINE_string("workdir", "", "default: runs/<config name>-<variant>")
JOBS = flags.DEFINE_integer("jobs", 2, "runs at a time, each on its share of the cores")
RUN = flags.DEFINE_string("run", "", "one run alone, by name (what --jobs start)")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
    """Raises: UserError for whatever a user can mend."""
    from tokenjax import experiment
    from tokenjax.study import plan, runner, summary

    command_line.enable_compilation_cache()
    study = CONFIG.value
    runs = plan.plan(study)
    name, variant = command_line.config_name_and_variant(CONFIG)
    root = pathlib.Path(WORKDIR.value or f"runs/{name}-{variant}")
    if RUN.value:
        chosen = [run for run in runs if run.name == RUN.value]
        if not chosen:
            raise UserError(f"no run {RUN.value!r} in this study")
        run = chosen[0]
        config = plan.run_config(study, run, root)
        needed = run.needed(root)
        if run.trains or needed is None:
            experiment.train(config, run.workdir(root))
        else:
            experiment.evaluate(config, needed, "test", run.workdir(root))
        return
    path = command_line.config_path(CONFIG)
    runner.run_all(runs, path, root, JOBS.value)
    summary.summarize(study, runs, root)
    print((root / "table.md").read_text())
    print(f"{root}/table.md, results.json and accuracy.png hold this")


if __name__ == "__main__":
    command_line.run(main)
