"""The runs of a reproduction, and the processes that do them.

A job is one condition with one seed: the runs of all its models one after the other in
one process, which starts once. A job that was cut goes on with its next run.
"""

import pathlib
import time

from ml_collections import ConfigDict

from tokenjax import config_files, storage
from tokenjax.errors import UserError
from tokenjax.reproduction import budget
from tokenjax.study import command, plan, runner
from tokenjax.study.plan import StudyRun

CONFIG = "reproduce_cifar_vit"
ALL = "all"  # in the place of a variant: the name of a job
CONDITIONS = (  # in the order of the report; the first two without an answer
    "balanced",
    "imbalanced",
    "class_weights",
    "weighted_sampler",
    "logit_adjustment",
)
BALANCED, IMBALANCED, *ANSWERS = CONDITIONS
PRUNED = "DynamicViT, pruned"
# Pruning is the original's idea of a cheap network, no answer to imbalance.
BALANCED_ALONE = (
    "dynamic_vit_pruned",
    "dynamic_vit_random",
    "dynamic_vit_random_alike",
)


def load_study(data: str, seeds: list[int]) -> ConfigDict:
    """Return the study on that data: conditions (its datasets), models, seeds."""
    study = config_files.load_config(f"{CONFIG}:{data}")
    study.seeds = tuple(seeds)
    return study


def list_runs(study: ConfigDict) -> list[StudyRun]:
    """Return all runs, seed by seed."""
    return [
        run
        for run in plan.plan(study)
        if run.dataset == BALANCED or run.variant not in BALANCED_ALONE
    ]


def list_jobs(runs: list[StudyRun]) -> list[StudyRun]:
    """Return the jobs that do these runs."""
    found = {(run.dataset, run.seed): None for run in runs}
    return [StudyRun(dataset, ALL, seed) for dataset, seed in found]


def do_job(
    study: ConfigDict,
    name: str,
    root: pathlib.Path,
    images: int,
    examples: dict[str, int],
) -> None:
    """Do the runs of one job that are missing, in this process.

    Args:
      study: what `load_study` returns.
      name: of the job.
      root: the directory of the study.
      images: that each run learns from.
      examples: of the training split, by condition.

    Raises: UserError.
    """
    runs = list_runs(study)
    job = next((each for each in list_jobs(runs) if each.name == name), None)
    if job is None:
        raise UserError(f"--run: there is no job {name!r}")
    found = {}
    for run in runs:
        if (run.dataset, run.seed) != (job.dataset, job.seed):
            continue
        done = run.workdir(root) / runner.DONE
        if not done.exists():
            print(f"{run.name}:", flush=True)
            config = plan.run_config(study, run, root)
            budget.set_length(config, run, images, examples[run.dataset])
            started = time.monotonic()
            try:
                command.run_one(study, run, config, root)
            finally:
                runner.add_seconds(run.workdir(root), time.monotonic() - started)
        if not done.exists():  # a signal stopped it
            return
        found[run.variant] = storage.read_json(done)["top1"]
    job.workdir(root).mkdir(parents=True, exist_ok=True)
    storage.write_json(job.workdir(root) / runner.DONE, {"top1": found})
