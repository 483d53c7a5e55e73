"""Runs that are there already, evaluated side by side: eval.py --eval_all."""

import pathlib
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from tokenjax import experiment, storage, tables
from tokenjax.benchmark.flops import CONVENTION
from tokenjax.errors import UserError
from tokenjax.study.costs import Trained, measure_costs
from tokenjax.study.metrics import ROUTED_MFLOPS, Summary
from tokenjax.tables import Column


def _percent(key: str) -> Callable[[Summary], float | None]:
    def value(point: Summary) -> float | None:
        return None if point[key] is None else 100 * point[key]

    return value


COLUMNS: tuple[Column[Summary], ...] = (
    Column("model", lambda point: point["name"]),
    Column("test accuracy, %", _percent("accuracy"), ".2f"),
    Column("routed to the big network, %", _percent("routing_ratio"), ".2f"),
    Column("target patches routed, %", _percent("target_recall"), ".2f"),
    Column("MFLOPs per image", lambda point: point["mflops"], ".2f"),
    Column("parameters", lambda point: point["parameters"], ","),
    Column("latency, ms", lambda point: point["latency_ms"], ".2f"),
    Column("images/s", lambda point: point["images_per_second"], ".0f"),
)


def evaluate_all(
    config: ConfigDict,
    name: str,
    variant: str,
    runs: pathlib.Path,
    split: str,
    batch_size: int,
) -> pathlib.Path:
    """Evaluate the runs that a configuration's `compare` names; trains nothing.

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
        own = ConfigDict(storage.read_json(workdir / "config.json"))
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
    (output / "table.md").write_text(
        f"{title}{tables.markdown(points, COLUMNS)}\n{CONVENTION}.\n", encoding="utf-8"
    )
    _figures(points, batch_size, output)
    return output


def _point(name: str, summary: Summary, cost: dict[str, float]) -> Summary:
    """Return a row of the table, with the FLOPs of what was routed where known."""
    routing = summary.get("routing", {})
    point = {
        "name": name,
        "accuracy": summary.get("top1"),
        "routing_ratio": routing.get("ratio"),
        "target_recall": routing.get("target_recall"),
        **cost,
    }
    routed = ROUTED_MFLOPS(summary)
    return point if routed is None else point | {"mflops": routed}


def _figures(points: list[Summary], batch_size: int, output: pathlib.Path) -> None:
    from tokenjax import plots

    if all(point["accuracy"] is None for point in points):
        return
    label = f"latency at batch {batch_size} (ms)"
    plots.accuracy_over_flops(points, output / "accuracy_over_flops.png")
    plots.accuracy_over_latency(points, output / "accuracy_over_latency.png", label)
