"""Runs of a reproduction as files, with accuracies that a test chooses."""

import json
import pathlib
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from tokenjax.reproduction import claims, jobs
from tokenjax.reproduction.budget import Cost
from tokenjax.reproduction.costs import PRUNED
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study import runner
from tokenjax.study.plan import StudyRun

CLASSES = ("heron", "newt", "otter")
IMAGES = 1000  # of each class in the test split
FIGURES = ("classes", "accuracy", "curves", "confusion", "answers", "attention")
MODELS = [*claims.CLAIMS, *jobs.BALANCED_ALONE]


def make_plan(seeds: list[int], data: str = "fashion_mnist") -> Plan:
    """Return what a finished calibration would have written."""
    even, thinned = [600, 600, 600], [600, 330, 60]
    counts = dict.fromkeys(jobs.CONDITIONS, thinned) | {jobs.BALANCED: even}
    costs = {name: Cost(1e-3, 9.0, 4.0) for name in MODELS}
    return Plan(data, 60.0, seeds, 12_000, counts, list(CLASSES), "0abc", costs)


def write_runs(
    study: ConfigDict, root: pathlib.Path, accuracy: Callable[[StudyRun], float]
) -> None:
    """Write every run's files; `accuracy(run)` is the share of test images right."""
    for run in jobs.list_runs(study):
        write_run(run.workdir(root), accuracy(run))


def write_run(workdir: pathlib.Path, accuracy: float, seconds: float = 30.0) -> None:
    """Write the files of one run; what is wrong is called the next class."""
    workdir.mkdir(parents=True, exist_ok=True)
    right = round(IMAGES * accuracy)
    wrong = IMAGES - right
    summary = {
        "examples": 3 * IMAGES,
        "top1": accuracy,
        "macro": {"f1": accuracy, "recall": accuracy},
        "confusion_matrix": [[right, wrong, 0], [0, right, wrong], [wrong, 0, right]],
        "model": {"effective_keys": [5.0, 3.0]},
    }
    # Not whole and on the disk as ours are: that takes a moment, times all these runs.
    (workdir / runner.DONE).write_text(json.dumps(summary))
    (workdir / runner.SECONDS).write_text(json.dumps({"seconds": seconds}))
    rows = [
        {"step": step, "validation/top1": share * accuracy}
        for step, share in ((10, 0.5), (20, 1.0))
    ]
    (workdir / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    timing = {"step": 20, "time/per_step": 0.01}
    (workdir / "performance.jsonl").write_text(json.dumps(timing) + "\n")


def make_costs() -> dict:
    """Return costs as costs.json has them."""
    original = {
        name: {
            "parameters": 1_000_000,
            "flops": 2e9,
            "milliseconds": 20.0,
            "slowest_ms": 21.0,
        }
        for name in [*claims.CLAIMS, PRUNED]
    }
    one = {"parameters": 5000, "mflops": 8.0, "latency_ms": 2.0}
    trained = {size: {name: dict(one) for name in MODELS} for size in ("1", "64")}
    where = {"hardware": "two cores", "platform": "Linux", "device": "cpu"}
    where |= {"jax": "0", "flax": "0", "commit": "0123456789ab"}
    patches = {name: [16, 11] for name in MODELS if name.startswith("dynamic")}
    return {
        "original": original,
        "trained": trained,
        "patches": patches,
        "environment": where,
        "load": 0.3,
        "cores": 2,
    }


def pretended(
    wrote: list[str], accuracy: Callable[[StudyRun], float] = lambda run: 0.8
) -> Callable[..., None]:
    """Return a `runner.run_all` that writes what runs would; `wrote` gets names."""

    def run_all(
        runs: Sequence[StudyRun],
        command: list[str],
        root: pathlib.Path,
        jobs_at_a_time: int,
        finished: Callable[[StudyRun], object] = lambda run: None,
    ) -> None:
        (data,) = [word[7:] for word in command if word.startswith("--data=")]
        (seeds,) = [word[8:] for word in command if word.startswith("--seeds=")]
        study = jobs.load_study(data, [int(seed) for seed in seeds.split(",")])
        for job in runs:
            for run in jobs.list_runs(study):
                own = (run.dataset, run.seed) == (job.dataset, job.seed)
                if own and not (run.workdir(root) / runner.DONE).exists():
                    write_run(run.workdir(root), accuracy(run), 1.0)
                    wrote.append(run.name)
            finished(job)

    return run_all
