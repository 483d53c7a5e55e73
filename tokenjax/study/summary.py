"""A study's table: accuracy, what was attended to, parameters, latency."""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from tokenjax import benchmark, experiment, storage
from tokenjax.benchmark.latency import compile_function, time_calls
from tokenjax.benchmark.measure import count_parameters, first_output
from tokenjax.study.metrics import METRICS
from tokenjax.study.plan import StudyRun, run_config
from tokenjax.study.runner import SECONDS
from tokenjax.training.settings import Settings

ROUNDS = 5  # latencies are taken in turns, so that a noisy moment hits all alike


def summarize(study: Any, runs: list[StudyRun], root: pathlib.Path) -> dict[str, Any]:
    """Reads the finished runs, measures latencies, writes the table and the figures.

    Returns: {"rows": [...], "machine": ...}, also in results.json.
    """
    rows = []
    for dataset in study.datasets:
        costs = _costs(study, dataset, root) if study.latency_batch_size else {}
        others = [name for name in study.variants if name != study.reference]
        for variant in (study.reference, *others):
            chosen = [r for r in runs if (r.dataset, r.variant) == (dataset, variant)]
            found = _metrics(study.columns, chosen, root)
            row = {"dataset": dataset, "variant": variant, **found}
            rows.append(row | costs.get(variant, {}))
    results = {"rows": rows, "jax": jax.__version__, "device": _device()}
    storage.write_json(root / "results.json", results)
    (root / "table.md").write_text(markdown(rows, study))
    _figures(rows, study, root)
    return results


def markdown(rows: list[dict[str, Any]], study: Any) -> str:
    """The rows as a Markdown table."""
    headings = ["dataset", "variant"]
    headings += [METRICS[name].heading for name in study.columns]
    if study.latency_batch_size:
        headings += ["parameters", "MFLOPs per image"]
        headings += [f"latency at batch {study.latency_batch_size}, ms", "images/s"]
        headings += [f"× latency of {study.reference}"]
    lines = [headings, ["---"] * len(headings)]
    for row in rows:
        cells = [row["dataset"], row["variant"]]
        cells += [
            METRICS[name].show(row[name], row[f"{name}_std"]) for name in study.columns
        ]
        if study.latency_batch_size:
            cells += [f"{row['parameters']:,}", f"{row['mflops']:.2f}"]
            cells += [f"{row['latency_ms']:.2f}", f"{row['images_per_second']:.0f}"]
            cells += [f"{row['latency_ratio']:.2f}"]
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _figures(rows: list[dict[str, Any]], study: Any, root: pathlib.Path) -> None:
    from tokenjax import plots

    main = study.columns[0]
    bars = [
        {
            "dataset": row["dataset"],
            "variant": row["variant"],
            "mean": 100 * row[main],
            "std": 100 * (row[f"{main}_std"] or 0.0),
        }
        for row in rows
    ]
    label = METRICS[main].heading.removesuffix(", %")
    plots.accuracy_bars(bars, root / "accuracy.png", label)
    if not study.latency_batch_size:
        return
    for dataset in study.datasets:
        points = [
            {"name": row["variant"], "accuracy": row[main], **row}
            for row in rows
            if row["dataset"] == dataset
        ]
        label = f"latency at batch {study.latency_batch_size} (ms)"
        path = root / f"accuracy_over_latency_{dataset}.png"
        plots.accuracy_over_latency(points, path, label)


def _metrics(
    columns: tuple[str, ...], runs: list[StudyRun], root: pathlib.Path
) -> dict[str, Any]:
    """Means over seeds; std is that of the seeds (one less in the denominator)."""
    summaries = []
    for run in runs:
        directory = run.workdir(root)
        summary = json.loads((directory / "evaluation.json").read_text())
        if (directory / SECONDS).exists():
            seconds = json.loads((directory / SECONDS).read_text())["seconds"]
            summary["minutes"] = seconds / 60
        summaries.append(summary)
    found: dict[str, Any] = {"seeds": len(runs)}
    for name in columns:
        values = [METRICS[name].value(summary) for summary in summaries]
        known = [value for value in values if value is not None]
        found[name] = float(np.mean(known)) if known else None
        found[f"{name}_std"] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return found


def _costs(study: Any, dataset: str, root: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Parameters, FLOPs and median latency of every variant, timed in turns."""
    compiled, costs = {}, {}
    batch = study.latency_batch_size
    for variant in study.variants:
        config = run_config(study, StudyRun(dataset, variant, 0), root)
        settings = Settings.from_config(config)
        info = experiment.data.load(settings.data).info
        model = experiment.create_model(settings.model, info)
        inputs = model.example_inputs(batch)
        variables = jax.jit(model.init)(jax.random.key(0), *inputs)
        infer = first_output(model)
        flops = benchmark.count_flops(infer, variables, *inputs)
        arguments = (variables, *inputs)
        program, _ = compile_function(infer, arguments)  # once for all rounds
        compiled[variant] = program, [arguments]
        costs[variant] = {
            "parameters": count_parameters(variables),
            "mflops": flops / batch / 1e6,
        }
    timing = benchmark.Timing(warmup=3, repeats=20)
    medians: dict[str, list[float]] = {variant: [] for variant in compiled}
    for _ in range(ROUNDS):
        for variant, (program, calls) in compiled.items():
            seconds = time_calls(program, calls, timing)
            medians[variant].append(float(np.median(seconds)))
    reference = float(np.median(medians[study.reference]))
    for variant, values in medians.items():
        median = float(np.median(values))
        costs[variant] |= {
            "latency_ms": 1e3 * median,
            "latency_std_ms": 1e3 * float(np.std(values)),
            "images_per_second": batch / median,
            "latency_ratio": median / reference,
        }
    return costs


def _device() -> str:
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"
