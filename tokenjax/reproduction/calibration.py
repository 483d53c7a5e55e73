"""Short runs before the real ones: what a budget buys on this machine."""

import pathlib
import time

from ml_collections import ConfigDict

from tokenjax import building, data
from tokenjax.benchmark.report import commit
from tokenjax.data import Dataset
from tokenjax.reproduction import budget, jobs
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study import runner
from tokenjax.training.settings import Settings

FOLDER = "calibration"  # below the directory of the study


def make_plan(
    study: ConfigDict,
    source: str,
    minutes: float,
    root: pathlib.Path,
    command: list[str],
    at_a_time: int,
) -> Plan:
    """Measure what runs cost here, by short ones, and decide how long they are.

    Args:
      study: what `jobs.load_study` returns.
      source: of its data, as the command names it.
      minutes: for this and for all runs.
      root: the directory of the study.
      command: a command line that does a job, but for its seeds.
      at_a_time: runs.

    Raises: UserError for data that is not there, and for too few minutes.
    """
    started = time.monotonic()
    plan = describe_data(study, source, minutes)
    print("short runs first, to measure what the budget buys here", flush=True)
    place = root / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    plan.write(place)
    short = study.copy_and_resolve_references()
    short.seeds = (plan.seeds[0], plan.seeds[0] + 1)
    runs = [run for run in jobs.list_runs(short) if run.dataset == jobs.BALANCED]
    again = [*command, f"--seeds={','.join(map(str, short.seeds))}"]
    for job in jobs.list_jobs(runs):  # one after the other: the second finds programs
        runner.run_all([job], again, place, at_a_time)
    config = study.datasets[jobs.BALANCED]
    costs = budget.read_costs(runs, place, config.batch_size)
    images = budget.images_per_run(
        minutes - (time.monotonic() - started) / 60,
        jobs.list_runs(study),
        costs,
        at_a_time,
        config.batch_size,
        int(config.epochs * plan.examples[jobs.BALANCED]),
    )
    return plan.with_length(images, costs)


def describe_data(study: ConfigDict, source: str, minutes: float) -> Plan:
    """Return the plan of the short runs, with what each condition learns from.

    No device is touched: the runs will want it to themselves.

    Raises: UserError for data that is not there.
    """
    datasets = {name: _load(config) for name, config in study.datasets.items()}
    batch = study.datasets[jobs.BALANCED].batch_size
    return Plan(
        data=source,
        budget=minutes,
        seeds=list(study.seeds),
        images=budget.CALIBRATION_STEPS * batch,
        counts={
            name: dataset.info.counts["train"].tolist()
            for name, dataset in datasets.items()
        },
        class_names=list(datasets[jobs.BALANCED].info.class_names),
        commit=commit(pathlib.Path(__file__).parent),
    )


def _load(config: ConfigDict) -> Dataset:
    """Return a condition's data, thinned as its runs will."""
    settings = Settings.from_config(config)
    return building.thin(data.load(settings.data), settings.imbalance)[0]
