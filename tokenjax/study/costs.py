"""What trained models cost at inference: their own weights, on real test images.

How long a model takes may depend on what it sees; random weights would route, and cost,
at random. All models are timed in turns, so that a noisy moment hits all alike.
"""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from tokenjax import benchmark, experiment
from tokenjax.benchmark.latency import compile_function, time_calls
from tokenjax.benchmark.program import count_parameters, first_output
from tokenjax.data import Dataset, Split
from tokenjax.errors import UserError
from tokenjax.training.checkpoints import load_initial_variables
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.classification import Classification

ROUNDS = 5
BATCHES = 4  # different test batches, in turn


class Trained(NamedTuple):
    """A configuration and the workdir that holds its weights."""

    config: ConfigDict
    weights: pathlib.Path


def measure_costs(
    models: Mapping[str, Trained], batch_size: int
) -> dict[str, dict[str, float]]:
    """Measure parameters, FLOPs and latency of each model.

    Returns: by name "parameters", "mflops" (per image; the most that the program can
    take), "latency_ms" (median over rounds), "latency_std_ms", "images_per_second".

    Raises: UserError for a workdir without weights.
    """
    compiled, costs = {}, {}
    datasets: dict[str, Dataset] = {}
    for name, (config, weights) in models.items():
        settings = Settings.from_config(config)
        key = repr(sorted(settings.data.items()))
        if key not in datasets:
            datasets[key] = experiment.data.load(settings.data)
        task = experiment.make_task(settings, datasets[key])
        if not isinstance(task, Classification):
            raise UserError(
                f"{name}: latencies are measured of classifiers; a study of others has "
                "latency_batch_size 0, and bench.py measures the model"
            )
        variables = load_initial_variables(weights, settings.checkpoint.evaluate)
        images = prepared_batches(task, datasets[key].test, batch_size)
        calls = [(variables, batch) for batch in images]

        infer = first_output(cast(nn.Module, task.model))
        program, _ = compile_function(infer, calls[0])  # once for all rounds
        compiled[name] = program, jax.device_put(calls)
        flops = benchmark.count_flops(infer, *calls[0])
        costs[name] = {
            "parameters": count_parameters(variables),
            "mflops": flops / batch_size / 1e6,
        }
    timing = benchmark.Timing(warmup=4, repeats=20, max_seconds=10.0)
    medians: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(ROUNDS):
        for name, (program, calls) in compiled.items():
            seconds = time_calls(program, calls, timing)
            medians[name].append(float(np.median(seconds)))
    for name, values in medians.items():
        median = float(np.median(values))
        costs[name] |= {
            "latency_ms": 1e3 * median,
            "latency_std_ms": 1e3 * float(np.std(values)),
            "images_per_second": batch_size / median,
        }
    return costs


def prepared_batches(
    task: Classification, split: Split, batch_size: int
) -> list[jax.Array]:
    """Return batches of images as the model takes them; a small split is repeated."""
    batches = []
    for start in range(0, BATCHES * batch_size, batch_size):
        indices = np.arange(start, start + batch_size) % len(split)
        batches.append(task.prepare(jnp.asarray(split.gather(indices)["image"])))
    return batches
