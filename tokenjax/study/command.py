"""What the commands that run studies share."""

import pathlib
from typing import Any

from tokenjax import experiment
from tokenjax.errors import UserError
from tokenjax.study import plan, runner, summary


def run_study(
    study: Any, root: pathlib.Path, jobs: int, only: str, command: list[str]
) -> None:
    """Runs what is missing of a study, then writes and prints its table.

    Args:
      study: see `tokenjax.study.plan`.
      root: its directory.
      jobs: runs at a time.
      only: the name of one run to do in this process, and nothing else; or "".
      command: a command line that does one run when "--run NAME" is added.

    Raises: UserError.
    """
    runs = plan.plan(study)
    if only:
        chosen = [run for run in runs if run.name == only]
        if not chosen:
            raise UserError(f"no run {only!r} in this study")
        _run_one(study, chosen[0], root)
        return
    runner.run_all(runs, command, root, jobs)
    summary.summarize(study, runs, root)
    print((root / "table.md").read_text())
    print(f"{root}/table.md, results.json and the figures beside them hold this")


def _run_one(study: Any, run: plan.StudyRun, root: pathlib.Path) -> None:
    config = plan.run_config(study, run, root)
    needed = run.needed(root)
    if run.trains or needed is None:
        experiment.train(config, run.workdir(root))
    else:
        experiment.evaluate(config, needed, "test", run.workdir(root))
