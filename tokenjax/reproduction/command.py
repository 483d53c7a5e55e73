"""The command that does CIFAR-ViT's experiments again and writes the report."""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from tokenjax.errors import UserError, unknown_name
from tokenjax.reproduction import budget, calibration, jobs
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study import runner
from tokenjax.study.plan import StudyRun
from tokenjax.training.run_lock import RunLock

SYSTEM = "cifar_vit"
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
    study = jobs.load_study(values.data, seeds)
    root = pathlib.Path(values.workdir or f"runs/reproduce_{SYSTEM}-{values.data}")
    if values.run:
        plan = Plan.read(root)
        jobs.do_job(study, values.run, root, plan.images, plan.examples)
        return
    output = pathlib.Path(values.output)
    if output.suffix != ".md":
        raise UserError(f"--output {output} must end in .md")
    runs = jobs.list_runs(study)
    found = Plan.read_if_there(root)
    if found is None:
        budget.check_least(values.budget, runs, values.jobs)
        calibration.describe_data(study, values.data, values.budget)  # is it there?
    else:
        found.check_same(values.data, seeds, values.budget, root)
    command = [sys.executable, "-m", "tokenjax", "reproduce", SYSTEM]
    command.append(f"--data={values.data}")
    with RunLock(root):
        if found is None:
            found = calibration.make_plan(
                study, values.data, values.budget, root, command, values.jobs
            )
            found.write(root)
        print(found.describe(len(runs)), flush=True)
        command.append(f"--seeds={','.join(map(str, seeds))}")
        progress = Progress(runs, found, root, values.jobs)
        runner.run_all(jobs.list_jobs(runs), command, root, values.jobs, progress.tell)
        from tokenjax.reproduction import report  # matplotlib and scipy, at the end

        report.write(study, runs, found, root, output)
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
