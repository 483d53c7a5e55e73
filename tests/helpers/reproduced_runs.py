"""Runs of a reproduction as files, with accuracies that a test chooses."""

import json
import pathlib

import numpy as np

from tokenjax import evaluation, storage
from tokenjax.reproduction import claims, jobs
from tokenjax.reproduction.budget import Cost
from tokenjax.reproduction.costs import PRUNED
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study import runner

CLASSES = ("heron", "newt", "otter")
IMAGES = 1000  # of the test split
PARAMETERS = {"vit_base": 19e6, "vit_small": 21e6, "dynamic_vit": 10e6}


def make_plan(seeds: list[int], data: str = "fashion_mnist") -> Plan:
    """Return what a finished calibration would have written."""
    even, thinned = [600, 600, 600], [600, 330, 60]
    counts = dict.fromkeys(jobs.CONDITIONS, thinned) | {jobs.BALANCED: even}
    names = [*claims.CLAIMS, "dynamic_vit_pruned", "dynamic_vit_random"]
    costs = {name: Cost(1e-3, 9.0, 4.0) for name in names}
    return Plan(data, 60.0, seeds, 12_000, counts, list(CLASSES), costs)


def write_runs(study, root: pathlib.Path, accuracy) -> None:
    """Write every run's files; `accuracy(run)` is the share of test images right."""
    for run in jobs.list_runs(study):
        workdir = run.workdir(root)
        workdir.mkdir(parents=True)
        right = round(IMAGES * accuracy(run))
        labels = np.arange(IMAGES) % len(CLASSES)
        called = np.where(np.arange(IMAGES) < right, labels, (labels + 1) % 3)
        ranked = np.stack([called, (called + 1) % 3], 1)
        summary = evaluation.summarize(labels, ranked, np.ones(IMAGES), 3, CLASSES)
        storage.write_json(workdir / runner.DONE, summary)
        storage.write_json(workdir / runner.SECONDS, {"seconds": 30.0})
        rows = [
            {"step": step, "validation/top1": share * accuracy(run)}
            for step, share in ((10, 0.5), (20, 1.0))
        ]
        log = "\n".join(map(json.dumps, rows))
        (workdir / "metrics.jsonl").write_text(log + "\n")


def make_costs() -> dict:
    """Return costs as costs.json has them."""
    original = {
        name: {"parameters": 1e6, "flops": 2e9, "milliseconds": 20.0}
        for name in [*claims.CLAIMS, PRUNED]
    }
    one = {"parameters": 5000, "mflops": 8.0, "latency_ms": 2.0}
    names = [*claims.CLAIMS, "dynamic_vit_pruned", "dynamic_vit_random"]
    trained = {size: {name: dict(one) for name in names} for size in ("1", "64")}
    where = {"hardware": "two cores", "platform": "Linux", "device": "cpu"}
    where |= {"jax": "0", "flax": "0", "commit": "0123456789ab"}
    return {"original": original, "trained": trained, "environment": where}
