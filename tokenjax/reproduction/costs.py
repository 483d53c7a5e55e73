"""What the models cost: at the original's own sizes, and as they were trained here.

Measured once, in turns, and kept in costs.json, so that a report written again shows
the same numbers; without that file they are measured anew.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from tokenjax import building, data, models, storage
from tokenjax.benchmark import latency, measure, report
from tokenjax.models.dynamic_vit import DynamicViT
from tokenjax.reproduction.claims import CLAIMS, PRUNING
from tokenjax.reproduction.jobs import BALANCED
from tokenjax.study.costs import Trained, measure_costs
from tokenjax.study.plan import StudyRun, run_config

FILE = "costs.json"
PRUNED = "dynamic_vit_pruning"  # the original's sizes with inference_mode=True
ROUNDS = 5
TIMING = latency.Timing(warmup=3, repeats=20, max_seconds=3.0)
BATCHES = (1, 64)  # of the models as trained

Costs = dict[str, Any]


def read_or_measure(
    study: ConfigDict, runs: Sequence[StudyRun], root: pathlib.Path
) -> Costs:
    """Return what the models cost, measured if it is not there.

    Under "original", "trained", "patches" and "environment"; "load" is how many
    programs ran on the "cores" in the minute before.
    """
    path = root / FILE
    if not path.exists():
        print("measuring what the models cost", flush=True)
        load = os.getloadavg()[0]
        costs = {
            "original": measure_originals(),
            "trained": measure_trained(study, runs, root),
            "patches": count_patches(study, runs, root),
            "environment": report.environment(),
            "load": load,
            "cores": os.cpu_count(),
        }
        storage.write_json(path, costs)
    return storage.read_json(path)


def measure_originals() -> dict[str, dict[str, float]]:
    """Return parameters, FLOPs and milliseconds of one image, at 32 pixels.

    A round's time is the median of its calls; the fastest round's is "milliseconds".
    """
    modules = {
        name: models.create(claim.model, **claim.arguments)
        for name, claim in CLAIMS.items()
    }
    modules[PRUNED] = models.create("dynamic_vit", **PRUNING)
    made = {
        name: measure.prepare(module, 1, 0, train=False)
        for name, module in modules.items()
    }
    medians: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, program in made.items():
            seconds = latency.time_calls(program.function, program.calls, TIMING)
            medians[name].append(float(np.median(seconds)))
    return {
        name: {
            "parameters": program.parameters,
            "flops": program.flops,
            "milliseconds": 1e3 * min(medians[name]),  # least disturbed
            "slowest_ms": 1e3 * max(medians[name]),
        }
        for name, program in made.items()
    }


def measure_trained(
    study: ConfigDict, runs: Sequence[StudyRun], root: pathlib.Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Return by batch size and model what the balanced runs' networks cost."""
    seed = study.seeds[0]
    trained = {}
    for run in runs:
        if (run.dataset, run.seed) == (BALANCED, seed):
            needed = run.needed(root)
            weights = run.workdir(root)
            if not run.trains and needed is not None:
                weights = needed
            trained[run.variant] = Trained(run_config(study, run, root), weights)
    return {str(size): measure_costs(trained, size) for size in BATCHES}


def count_patches(
    study: ConfigDict, runs: Sequence[StudyRun], root: pathlib.Path
) -> dict[str, list[int]]:
    """Return how many patches each DynamicViT has, then after each step of pruning."""
    info = data.load(study.datasets[BALANCED].data).info
    found = {}
    for run in runs:
        if run.dataset == BALANCED and run.variant not in found:
            model = building.create_model(run_config(study, run, root).model, info)
            if isinstance(model, DynamicViT):
                steps = model.steps() if model.pruning != "none" else {}
                left = [count for count, _ in steps.values()]
                found[run.variant] = [model.num_patches, *left]
    return found
