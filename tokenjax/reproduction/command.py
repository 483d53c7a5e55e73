"""The command that does CIFAR-ViT's experiments again and writes the report."""

import os
import pathlib
import sys
import time
from collections.abc import Sequence

import jax
from absl import flags
from ml_collections import ConfigDict

from tokenjax import experiment
from tokenjax.errors import UserError, unknown_name
from tokenjax.reproduction import budget, jobs
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study import runner
from tokenjax.study.plan import StudyRun
from tokenjax.training.run_lock import RunLock

SYSTEM = "cifar_vit"
CALIBRATION = "calibration"  # below the workdir: the short runs
MOST_JOBS = 2
LARGEST_SEED = 2**32 - 2  # the short runs take the next one as well


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Plan and do what is missing, then write the report.

    Args:
      argv: the program and what is to be reproduced.
      values: the flags, parsed.

    Raises: UserError for whatever a user can mend.
    """
    _check_system(argv[1:])
    seeds = _read_seeds(values.seeds)
    data = values.data
    root = pathlib.Path(values.workdir or f"runs/reproduce_{SYSTEM}-{data}")
    study = jobs.load_study(data, seeds)
    if values.run:
        plan = Plan.read(root)
        jobs.do_job(study, values.run, root, plan.images, plan.examples)
        return
    output = pathlib.Path(values.output)
    if output.suffix != ".md":
        raise UserError(f"--output {output} must end in .md")
    again = [sys.executable, "-m", "tokenjax", "reproduce", SYSTEM, f"--data={data}"]
    at_a_time = values.jobs or _usual_jobs()
    runs = jobs.list_runs(study)
    if Plan.read_if_there(root) is None:
        budget.check_least(values.budget, runs, at_a_time)
    with RunLock(root):
        plan = Plan.read_if_there(root)
        if plan is None:
            plan = _make_plan(study, values.budget, root, again, at_a_time)
            plan.write(root)
        plan.check_same(data, seeds, values.budget, root)
        command = [*again, f"--seeds={','.join(map(str, seeds))}"]
        print(plan.describe(len(runs)), flush=True)
        progress = Progress(runs, plan, root, at_a_time)
        runner.run_all(jobs.list_jobs(runs), command, root, at_a_time, progress.tell)
        from tokenjax.reproduction import report  # matplotlib and scipy, at the end

        report.write(study, runs, plan, root, output)
    print(f"{output} says what was found; the same command writes it again")


class Progress:
    """Says after each job how many runs are done, and how long the rest may take."""

    def __init__(
        self, runs: list[StudyRun], plan: Plan, root: pathlib.Path, at_a_time: int
    ):
        self._runs, self._plan, self._root = runs, plan, root
        self._at_a_time = at_a_time

    def tell(self, job: StudyRun) -> None:
        """Print a line after a job."""
        missing = [
            run
            for run in self._runs
            if not (run.workdir(self._root) / runner.DONE).exists()
        ]
        seconds = sum(self._plan.expected_seconds(run) for run in missing)
        done = len(self._runs) - len(missing)
        print(
            f"\n{job.dataset}, seed {job.seed}: {done} of {len(self._runs)} runs done, "
            f"about {seconds / self._at_a_time / 60:.0f} minutes left",
            flush=True,
        )


def _make_plan(
    study: ConfigDict,
    minutes: float,
    root: pathlib.Path,
    again: list[str],
    at_a_time: int,
) -> Plan:
    """Measure what runs cost here, by short ones, and decide how long they are.

    Raises: UserError for data that is not there, and for too few minutes.
    """
    started = time.monotonic()
    counts = {}
    for name, config in study.datasets.items():
        counts[name] = experiment.build(config).dataset.info.counts["train"].tolist()
    names = experiment.build(study.datasets[jobs.BALANCED]).dataset.info.class_names
    examples = {name: sum(each) for name, each in counts.items()}
    config = study.datasets[jobs.BALANCED]
    batch, seeds = config.batch_size, list(study.seeds)
    plan = Plan(
        data=config.data.source,
        budget=minutes,
        seeds=seeds,
        images=budget.CALIBRATION_STEPS * batch,
        counts=counts,
        class_names=list(names),
    )
    print("short runs first, to measure what the budget buys here", flush=True)
    place = root / CALIBRATION
    place.mkdir(parents=True, exist_ok=True)
    plan.write(place)
    twice = [seeds[0], seeds[0] + 1]
    short = study.copy_and_resolve_references()
    short.seeds = tuple(twice)
    runs = [run for run in jobs.list_runs(short) if run.dataset == jobs.BALANCED]
    command = [*again, f"--seeds={twice[0]},{twice[1]}"]
    for job in jobs.list_jobs(runs):  # one after the other: the second finds programs
        runner.run_all([job], command, place, at_a_time)
    costs = budget.read_costs(runs, place, batch)
    spent = (time.monotonic() - started) / 60
    images = budget.images_per_run(
        minutes - spent,
        jobs.list_runs(study),
        costs,
        at_a_time,
        batch,
        int(config.epochs * examples[jobs.BALANCED]),
    )
    return plan.with_length(images, costs)


def _check_system(given: Sequence[str]) -> None:
    if len(given) != 1:
        raise UserError(f"say what to reproduce: tokenjax reproduce {SYSTEM}")
    if given[0] != SYSTEM:
        raise UserError(unknown_name("reproduction", given[0], [SYSTEM]))


def _read_seeds(given: Sequence[str]) -> list[int]:
    """Return the seeds.

    Raises: UserError unless they are different whole numbers.
    """
    if not given or not all(each.strip().isdecimal() for each in given):
        raise UserError(f"--seeds are whole numbers such as 0,1,2, got {given}")
    seeds = [int(each) for each in given]
    if len(set(seeds)) < len(seeds) or max(seeds) > LARGEST_SEED:
        raise UserError(f"--seeds must differ and be below 2^32 - 1, got {given}")
    return seeds


def _usual_jobs() -> int:
    """Return how many runs at a time: one where they would share an accelerator."""
    if jax.default_backend() != "cpu":
        return 1
    return min(MOST_JOBS, len(os.sched_getaffinity(0)))
