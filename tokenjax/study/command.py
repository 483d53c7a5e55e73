"""The command that runs studies and ablations: many runs, one table, figures.

    python -m tokenjax.study --config configs/study_vdpa.py
    python -m tokenjax.study --config configs/routing.py --jobs 2 [--workdir DIR]

A configuration with `variants` is a study (see `tokenjax.study.plan`); a training
configuration is varied by its section `ablation` (see `tokenjax.study.grid`). The same
command goes on where it was cut.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict

from tokenjax import command_line, path_flags
from tokenjax.errors import UserError
from tokenjax.study import grid, plan

STUDY_JOBS, ABLATION_JOBS = 2, 1  # at a time, where --jobs does not say


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define --config, whose keys `argv` may set, --workdir, --jobs and --run."""
    command_line.define_config(argv, values)
    text = (
        "default: runs/<name>-<variant>, of an ablation runs/<name>-<variant>-ablation"
    )
    path_flags.define("workdir", "", text, values)
    text = (
        f"runs at a time, each on its share of the cores; default: {STUDY_JOBS}, of an "
        f"ablation {ABLATION_JOBS}"
    )
    flags.DEFINE_integer("jobs", None, text, flag_values=values)
    text = "one run alone, by name (what --jobs start)"
    flags.DEFINE_string("run", "", text, flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run what is missing of a study or an ablation, then write and print its table.

    Args:
      argv: the command line, the program first; its flags are passed on to every run.
      values: its flags, parsed.

    Raises: UserError for whatever a user can mend.
    """
    command_line.enable_compilation_cache()
    study = is_study(values.config)
    name = "-".join(command_line.config_name_and_variant(values))
    root = pathlib.Path(values.workdir or f"runs/{name}{'' if study else '-ablation'}")
    jobs = values.jobs
    if jobs is None:
        jobs = STUDY_JOBS if study else ABLATION_JOBS
    config = values.config if study else grid.make_study(values.config)
    again = [sys.executable, "-m", "tokenjax", "study", *argv[1:]]
    run_study(config, root, jobs, values.run, again)


def is_study(config: ConfigDict) -> bool:
    """Return whether a configuration is a study's rather than a training run's."""
    return "variants" in config or "datasets" in config


def run_study(
    study: ConfigDict, root: pathlib.Path, jobs: int, only: str, command: list[str]
) -> None:
    """Run what is missing of a study, then write and print its table.

    Args:
      study: see `tokenjax.study.plan`.
      root: its directory.
      jobs: runs at a time.
      only: the name of one run to do in this process, and nothing else; or "".
      command: a command line that does one run when "--run NAME" is added.

    Raises: UserError.
    """
    from tokenjax.study import runner, summary  # jax, which --help does without
    from tokenjax.study.uses.command import measure_uses
    from tokenjax.training.run_lock import RunLock

    runs = plan.plan(study)
    if only:
        chosen = [run for run in runs if run.name == only]
        if not chosen:
            raise UserError(f"no run {only!r} in this study")
        run_one(study, chosen[0], plan.run_config(study, chosen[0], root), root)
        return
    with RunLock(root):
        runner.run_all(runs, command, root, jobs)
        summary.summarize(study, runs, root)
        tables = [root]
        if "uses" in study:
            tables.append(measure_uses(study, root))
    for directory in tables:
        print((directory / "table.md").read_text(encoding="utf-8"))
    print(f"{root}/table.md, results.json and the figures beside them hold this")


def run_one(
    study: ConfigDict, run: plan.StudyRun, config: ConfigDict, root: pathlib.Path
) -> None:
    """Train one run by its configuration, or evaluate another's weights, here.

    Raises: UserError.
    """
    from tokenjax import experiment, storage
    from tokenjax.study import runner

    needed = run.needed(root)
    if run.trains or needed is None:
        experiment.train(config, run.workdir(root))
    else:
        workdir = run.workdir(root)
        changes = plan.changed_arguments(study, run)
        summary = experiment.evaluate(config, needed, "test", workdir, changes)
        storage.write_json(
            workdir / runner.DONE, summary
        )  # also if it has another name
