"""A study's table: accuracy, what was attended to, parameters, latency."""

import json
import pathlib
from typing import TypeGuard

import jax
import numpy as np
from ml_collections import ConfigDict

from tokenjax import storage, tables
from tokenjax.benchmark.flops import CONVENTION
from tokenjax.study.costs import Trained, measure_costs
from tokenjax.study.metrics import METRICS, ROUTED_MFLOPS, Summary
from tokenjax.study.plan import StudyRun, run_config
from tokenjax.study.runner import SECONDS
from tokenjax.tables import Column


def summarize(study: ConfigDict, runs: list[StudyRun], root: pathlib.Path) -> Summary:
    """Read the finished runs, measures latencies, writes the table and the figures.

    Returns: {"rows": [...], "machine": ...}, also in results.json.
    """
    rows = []
    for dataset in study.datasets:
        timed = bool(study.latency_batch_size)
        costs = _costs(study, dataset, runs, root) if timed else {}
        others = [name for name in study.variants if name != study.reference]
        for variant in (study.reference, *others):
            chosen = [r for r in runs if (r.dataset, r.variant) == (dataset, variant)]
            found = _metrics(study.columns, chosen, root)
            row = {"dataset": dataset, "variant": variant, **costs.get(variant, {})}
            rows.append(row | found)
    results = {"rows": rows, "jax": jax.__version__, "device": _device()}
    storage.write_json(root / "results.json", results)
    note = f"\n{CONVENTION}.\n" if study.latency_batch_size else ""
    (root / "table.md").write_text(
        tables.markdown(rows, columns_of(study)) + note, encoding="utf-8"
    )
    _figures(rows, study, root)
    _curves(study, runs, root)
    return results


def columns_of(study: ConfigDict) -> list[Column[Summary]]:
    """Return the columns of a study's table."""
    columns: list[Column[Summary]] = [
        Column("dataset", lambda row: row["dataset"]),
        Column("variant", lambda row: row["variant"]),
        *(_metric_column(name) for name in study.columns),
    ]
    if not study.latency_batch_size:
        return columns
    latency = f"latency at batch {study.latency_batch_size}, ms"
    ratio = f"× latency of {study.reference}"
    return [
        *columns,
        Column("parameters", lambda row: row["parameters"], ","),
        Column("MFLOPs per image", lambda row: row["mflops"], ".2f"),
        Column(latency, lambda row: row["latency_ms"], ".2f"),
        Column("images/s", lambda row: row["images_per_second"], ".0f"),
        Column(ratio, lambda row: row["latency_ratio"], ".2f"),
    ]


def _metric_column(name: str) -> Column[Summary]:
    metric = METRICS[name]

    def cell(row: Summary) -> str:
        runs = row.get("seeds", 0)
        measured = row.get(f"{name}_runs", runs) or 0
        return metric.show(row[name], row[f"{name}_std"], measured, runs)

    return Column(metric.heading, cell)


def _figures(rows: list[Summary], study: ConfigDict, root: pathlib.Path) -> None:
    from tokenjax import plots

    main = study.columns[0]
    if all(row[main] is None for row in rows):
        return
    bars = [
        {
            "dataset": row["dataset"],
            "variant": row["variant"],
            "mean": row[main],
            "std": row[f"{main}_std"],
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
            if row["dataset"] == dataset and row[main] is not None
        ]
        if not points:
            continue
        label = f"latency at batch {study.latency_batch_size} (ms)"
        path = root / f"accuracy_over_latency_{dataset}.png"
        plots.accuracy_over_latency(points, path, label)
        plots.accuracy_over_flops(points, root / f"accuracy_over_flops_{dataset}.png")


def _curves(study: ConfigDict, runs: list[StudyRun], root: pathlib.Path) -> None:
    """Draw the losses of all runs over steps, and gradients' norms by part."""
    from tokenjax import plots
    from tokenjax.plots.variant_curves import MOST_VARIANTS

    for dataset in study.datasets:
        curves: dict[str, list] = {}
        norms: dict[str, dict[str, float]] = {}
        for run in (run for run in runs if run.dataset == dataset):
            log = _log(run.workdir(root))
            if "loss" in log:
                curves.setdefault(run.variant, []).append((log["step"], log["loss"]))
                parts = {
                    part: METRICS[f"gradient_{part}"].value({"log": log})
                    for part in ("backbone", "fusion", "heads")
                }
                known = {k: v for k, v in parts.items() if v is not None}
                if known:
                    norms.setdefault(run.variant, known)
        if 1 <= len(curves) <= MOST_VARIANTS:
            path = root / f"loss_curves_{dataset}.png"
            losses = [
                loss
                for pairs in curves.values()
                for _, log in pairs
                for loss in log
                if loss is not None
            ]
            # Runs that diverge would press the others onto the axis.
            wide = min(losses) > 0 and max(losses) > 10 * min(losses)
            plots.loss_curves(curves, path, "training loss", log_y=wide)
        if norms:
            plots.gradient_norms(norms, root / f"gradient_norms_{dataset}.png")


def _metrics(
    columns: tuple[str, ...], runs: list[StudyRun], root: pathlib.Path
) -> Summary:
    """Return means over the seeds that measured a column, and how many these are.

    Their std, with one less in the denominator, is None of a single one.
    """
    summaries = []
    for run in runs:
        directory = run.workdir(root)
        summary = json.loads(
            (directory / "evaluation.json").read_text(encoding="utf-8")
        )
        if (directory / SECONDS).exists():
            seconds = json.loads((directory / SECONDS).read_text(encoding="utf-8"))[
                "seconds"
            ]
            summary["minutes"] = seconds / 60
        summary["log"] = _log(directory)
        summaries.append(summary)
    found: Summary = {"seeds": len(runs)}
    values = [ROUTED_MFLOPS(summary) for summary in summaries]
    routed = [value for value in values if _is_measured(value)]
    if len(routed) == len(runs):
        found["mflops"] = float(np.mean(routed))  # of the patches that were routed
    for name in columns:
        values = [METRICS[name].value(summary) for summary in summaries]
        known = [value for value in values if _is_measured(value)]
        found[f"{name}_runs"] = len(known)
        found[name] = float(np.mean(known)) if known else None
        found[f"{name}_std"] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return found


def _is_measured(value: float | None) -> TypeGuard[float]:
    """Return whether it is a number; earlier versions wrote NaN where there is none."""
    return value is not None and bool(np.isfinite(value))


def _log(directory: pathlib.Path) -> dict[str, list[float]]:
    """Read the columns of a run's training log; {} for a run that trained nothing."""
    path = directory / "history.json"
    return (
        json.loads(path.read_text(encoding="utf-8"))["train"] if path.exists() else {}
    )


def _costs(
    study: ConfigDict, dataset: str, runs: list[StudyRun], root: pathlib.Path
) -> dict[str, dict[str, float]]:
    """Measure every variant's parameters, FLOPs and latency, of its first seed."""
    trained = {}
    for variant in study.variants:
        chosen = [r for r in runs if (r.dataset, r.variant) == (dataset, variant)]
        run = chosen[0]
        needed = run.needed(root)
        weights = run.workdir(root) if run.trains or needed is None else needed
        trained[variant] = Trained(run_config(study, run, root), weights)
    costs = measure_costs(trained, study.latency_batch_size)
    reference = costs[study.reference]["latency_ms"]
    for cost in costs.values():
        cost["latency_ratio"] = cost["latency_ms"] / reference
    return costs


def _device() -> str:
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"
