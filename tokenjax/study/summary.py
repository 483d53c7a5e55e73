"""A study's table: accuracy, what was attended to, parameters, latency."""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from tokenjax import benchmark, experiment, storage
from tokenjax.study.plan import StudyRun, run_config
from tokenjax.training.settings import Settings

ROUNDS = 5  # latencies are taken in turns, so that a noisy moment hits all alike


def summarize(study: Any, runs: list[StudyRun], root: pathlib.Path) -> dict[str, Any]:
    """Reads the finished runs, measures latencies, writes the table and the figure.

    Returns: {"rows": [...], "machine": ...}, also in results.json.
    """
    rows = []
    for dataset in study.datasets:
        costs = _costs(study, dataset)
        reference = costs[study.reference]["latency_ms"]
        others = [name for name in study.variants if name != study.reference]
        for variant in (study.reference, *others):
            chosen = [r for r in runs if (r.dataset, r.variant) == (dataset, variant)]
            row = {"dataset": dataset, "variant": variant, **_accuracy(chosen, root)}
            cost = costs[variant]
            row |= cost | {"latency_ratio": cost["latency_ms"] / reference}
            rows.append(row)
    results = {"rows": rows, "jax": jax.__version__, "device": _device()}
    storage.write_json(root / "results.json", results)
    (root / "table.md").write_text(markdown(rows, study.latency_batch_size))

    from tokenjax import plots

    bars = [
        {k: 100 * row[k] if k in ("mean", "std") else row[k] for k in row}
        for row in rows
    ]
    plots.accuracy_bars(bars, root / "accuracy.png")
    return results


def markdown(rows: list[dict[str, Any]], batch_size: int) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| dataset | variant | test accuracy, % (mean ± std) | effective keys "
        "| alpha | parameters | MFLOPs per image "
        f"| latency at batch {batch_size}, ms | × recorded |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        alpha = "–" if row["alpha"] is None else f"{row['alpha']:.2f}"
        lines.append(
            f"| {row['dataset']} | {row['variant']} "
            f"| {100 * row['mean']:.2f} ± {100 * row['std']:.2f} "
            f"| {row['effective_keys']:.1f} of {row['tokens']} | {alpha} "
            f"| {row['parameters']:,} | {row['mflops']:.2f} "
            f"| {row['latency_ms']:.2f} | {row['latency_ratio']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _accuracy(runs: list[StudyRun], root: pathlib.Path) -> dict[str, Any]:
    """Means over seeds; std is that of the seeds (one less in the denominator)."""
    found = [
        json.loads((r.workdir(root) / "evaluation.json").read_text()) for r in runs
    ]
    top1 = [summary["top1"] for summary in found]
    alpha = [np.mean(s["model"]["alpha"]) for s in found if "alpha" in s["model"]]
    keys = [np.mean(summary["model"]["effective_keys"]) for summary in found]
    return {
        "mean": float(np.mean(top1)),
        "std": float(np.std(top1, ddof=1)) if len(top1) > 1 else 0.0,
        "seeds": len(top1),
        "alpha": float(np.mean(alpha)) if alpha else None,
        "effective_keys": float(np.mean(keys)),
    }


def _costs(study: Any, dataset: str) -> dict[str, dict[str, Any]]:
    """Parameters, FLOPs and median latency of every variant, timed in turns."""
    compiled, costs = {}, {}
    for variant in study.variants:
        config = run_config(study, StudyRun(dataset, variant, 0))
        settings = Settings.from_config(config)
        info = experiment.data.load(settings.data).info
        model = experiment.create_model(settings.model, info)
        inputs = model.example_inputs(study.latency_batch_size)
        variables = jax.jit(model.init)(jax.random.key(0), *inputs)

        def infer(variables: Any, images: jax.Array, model: Any = model) -> jax.Array:
            return model.apply(variables, images)[0]

        patches = info.image_shape[0] // model.patch_size
        flops = benchmark.count_flops(infer, variables, *inputs)
        compiled[variant] = infer, [(variables, *inputs)]
        costs[variant] = {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
            "mflops": flops / study.latency_batch_size / 1e6,
            "tokens": patches**2 + ("cls_token" in variables["params"]),
        }
    timing = benchmark.Timing(warmup=3, repeats=20)
    medians: dict[str, list[float]] = {variant: [] for variant in compiled}
    for _ in range(ROUNDS):
        for variant, (infer, inputs) in compiled.items():
            latency = benchmark.measure_latency(infer, inputs, timing)
            medians[variant].append(latency.median)
    for variant, values in medians.items():
        costs[variant]["latency_ms"] = 1e3 * float(np.median(values))
    return costs


def _device() -> str:
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"
