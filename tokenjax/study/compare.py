"""Runs that are there already, evaluated side by side: eval.py --eval_all."""

import pathlib
from typing import Any

import jax

from tokenjax import experiment, storage
from tokenjax.errors import UserError
from tokenjax.study.costs import Trained, measure_costs
from tokenjax.study.metrics import ROUTED_MFLOPS

HEADINGS = (
    "model",
    "test accuracy, %",
    "routed to the big network, %",
    "target patches routed, %",
    "MFLOPs per image",
    "parameters",
    "latency, ms",
    "images/s",
)


def evaluate_all(
    config: Any,
    name: str,
    variant: str,
    runs: pathlib.Path,
    split: str,
    batch_size: int,
) -> pathlib.Path:
    """Evaluates the runs that a configuration's `compare` names; trains nothing.

    Each is evaluated by its own config.json, and its evaluation.json and figures are
    written anew; latencies are measured with its weights on test images, in turns.

    Args:
      config: its `compare` maps a name to a variant of the same configuration.
      name: of the configuration, which workdirs begin with: <name>-<variant>.
      runs: the directory of the workdirs.
      split: "train", "validation" or "test".
      batch_size: of the latencies.

    Returns: where table.md, results.json and the figures are.

    Raises: UserError, for workdirs that are not there all at once.
    """
    import ml_collections

    variants = dict(config.get("compare", {}))
    if not variants:
        raise UserError("config: there is no section compare for --eval_all to read")
    workdirs = {key: runs / f"{name}-{value}" for key, value in variants.items()}
    absent = [k for k, path in workdirs.items() if not (path / "config.json").exists()]
    if absent:
        commands = "; ".join(
            f"python train.py --config configs/{name}.py:{variants[key]} "
            f"--workdir {workdirs[key]}"
            for key in absent
        )
        raise UserError(f"not trained yet: {', '.join(absent)}; {commands}")
    rows, trained = {}, {}
    for key, workdir in workdirs.items():
        own = ml_collections.ConfigDict(storage.read_json(workdir / "config.json"))
        print(f"{key}: {workdir}")
        rows[key] = experiment.evaluate(own, workdir, split, workdir)
        trained[key] = Trained(own, workdir)
    costs = measure_costs(trained, batch_size)
    output = runs / f"{name}-{variant}-eval_all"
    output.mkdir(parents=True, exist_ok=True)
    points = [_point(key, rows[key], costs[key]) for key in rows]
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    storage.write_json(
        output / "results.json",
        {
            "split": split,
            "batch_size": batch_size,
            "device": device,
            "jax": jax.__version__,
            "rows": points,
        },
    )
    title = f"{split} split; latency of {batch_size} images on {device}\n\n"
    (output / "table.md").write_text(title + markdown(points))
    _figures(points, batch_size, output)
    return output


def markdown(points: list[dict[str, Any]]) -> str:
    """One row per model."""
    lines = [list(HEADINGS), ["---"] * len(HEADINGS)]
    for point in points:
        cells = [point["name"], _percent(point["accuracy"])]
        cells += [_percent(point["routing_ratio"]), _percent(point["target_recall"])]
        cells += [f"{point['mflops']:.2f}", f"{point['parameters']:,}"]
        cells += [f"{point['latency_ms']:.2f}", f"{point['images_per_second']:.0f}"]
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _point(name: str, summary: dict[str, Any], cost: dict[str, float]) -> dict:
    """A row of the table; FLOPs are those that the routing asked for, where known."""
    routing = summary.get("routing", {})
    point = {
        "name": name,
        "accuracy": summary["top1"],
        "routing_ratio": routing.get("ratio"),
        "target_recall": routing.get("target_recall"),
        **cost,
    }
    routed = ROUTED_MFLOPS(summary)
    return point if routed is None else point | {"mflops": routed}


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _figures(points: list[dict], batch_size: int, output: pathlib.Path) -> None:
    from tokenjax import plots

    label = f"latency at batch {batch_size} (ms)"
    plots.accuracy_over_flops(points, output / "accuracy_over_flops.png")
    plots.accuracy_over_latency(points, output / "accuracy_over_latency.png", label)
