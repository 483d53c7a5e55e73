"""What came of a study's uses: a table, CSV, JSON, a figure for each comparison."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from tokenjax import storage, tables
from tokenjax.benchmark.flops import CONVENTION
from tokenjax.study.uses import accuracy, latency
from tokenjax.study.uses.plan import FOLDER, Use
from tokenjax.tables import Column

LEAST_SAVED = 0.02  # of FLOPs: of less, the share that became time is noise


@dataclasses.dataclass
class Row:
    """A use, and what was measured of it.

    Attributes:
      use: what it is.
      accuracies: by seed, in the order of its weights'.
      differences: from what it is held against, with the same seed's weights.
      times: by batch size, see `latency.measure`.
      flops_ratio: to the reference.
    """

    use: Use
    accuracies: np.ndarray
    differences: np.ndarray
    times: dict[int, dict[str, Any]]
    flops_ratio: float

    @property
    def cost(self) -> dict[str, Any]:
        """Return what holds at every batch size: FLOPs of an image, parameters."""
        return next(iter(self.times.values()))

    def saved_share(self, batch_size: int) -> float | None:
        """Return the share of the FLOPs saved that became saved time."""
        saved = 1 - self.flops_ratio
        if saved < LEAST_SAVED:
            return None
        return (1 - self.times[batch_size]["ratio"]) / saved


def make_rows(
    study: ConfigDict,
    uses: list[Use],
    found: accuracy.Found,
    times: dict[int, latency.Times],
) -> list[Row]:
    """Return a row for each use of one comparison, the reference first."""
    rows, by_name = [], {use.name: use for use in uses}
    for use in uses:
        values, others = (
            np.array([found[accuracy.key_of(u, s)]["top1"] for s in use.seeds])
            for u in (use, by_name[use.against])
        )
        own = {size: times[size][use.name] for size in study.uses.batch_sizes}
        first = times[study.uses.batch_sizes[0]]
        flops = first[use.name]["mflops"] / first[uses[0].name]["mflops"]
        rows.append(Row(use, values, values - others, own, flops))
    return rows


def columns(batch_sizes: tuple[int, ...]) -> list[Column[Row]]:
    """Return the columns of the table: numbers for a file, each in its own."""
    found: list[Column[Row]] = [
        Column("dataset", lambda row: row.use.dataset),
        Column("comparison", lambda row: row.use.comparison),
        Column("line", lambda row: row.use.line),
        Column("use", lambda row: row.use.name),
        Column("weights", _weights),
        Column("held against", lambda row: row.use.against),
        Column("seeds", lambda row: len(row.accuracies), "d"),
        Column("accuracy, %", lambda row: 100 * float(row.accuracies.mean()), ".2f"),
        Column("its std", lambda row: _std(row.accuracies), ".2f"),
        Column("difference", lambda row: 100 * float(row.differences.mean()), ".2f"),
        Column("its std", lambda row: _std(row.differences), ".2f"),
        Column("parameters", lambda row: row.cost["parameters"], ","),
        Column("MFLOPs per image", lambda row: row.cost["mflops"], ".2f"),
        Column("FLOPs ratio", lambda row: row.flops_ratio, ".3f"),
    ]
    for size in batch_sizes:
        for heading, key in (
            ("latency at {}, ms", "latency_ms"),
            ("time ratio at {}", "ratio"),
            ("its lower quartile", "ratio_low"),
            ("its upper quartile", "ratio_high"),
        ):
            found.append(Column(heading.format(size), _time(size, key), ".3f"))
    return found


def shown_columns(batch_sizes: tuple[int, ...]) -> list[Column[Row]]:
    """Return the columns of the table that is read."""
    found: list[Column[Row]] = [
        Column("use", lambda row: row.use.name),
        Column("weights", _weights),
        Column("seeds", lambda row: len(row.accuracies), "d"),
        Column("test accuracy, %", lambda row: _spread(row.accuracies)),
        Column("difference", lambda row: _spread(row.differences)),
        Column("MFLOPs per image", lambda row: row.cost["mflops"], ".1f"),
        Column("1 / FLOPs", lambda row: 1 / row.flops_ratio, ".2f"),
    ]
    for size in batch_sizes:
        found += [
            Column(f"ms at batch {size}", _time(size, "latency_ms"), ".2f"),
            Column(f"× speed at {size}", _speed(size)),
            Column(f"saved time / FLOPs at {size}", _saved(size), ".2f"),
        ]
    return found


def points(rows: list[Row], batch_sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return what figures are drawn from, one for each use and batch size."""
    return [
        {
            "batch_size": size,
            "line": row.use.line,
            "name": row.use.name,
            "tuned": row.use.tuned,
            "rival": row.use.rival,
            "accuracy": float(row.accuracies.mean()),
            "spread": _deviation(row.accuracies),
            "difference": float(row.differences.mean()),
            "difference_spread": _deviation(row.differences),
            "time": row.times[size]["ratio"],
            "time_low": row.times[size]["ratio_low"],
            "time_high": row.times[size]["ratio_high"],
        }
        for row in rows
        for size in batch_sizes
    ]


def _differences(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return points with the differences as what is drawn.

    They are of the same seed's weights; seeds differ by more than uses do.
    """
    return [
        point | {"accuracy": point["difference"], "spread": point["difference_spread"]}
        for point in drawn
    ]


def write(
    study: ConfigDict,
    rows: dict[tuple[str, str], list[Row]],
    images: int,
    root: pathlib.Path,
) -> pathlib.Path:
    """Write table.md, table.csv, results.json and figures; return their directory."""
    from tokenjax import plots

    directory, sizes = root / FOLDER, tuple(study.uses.batch_sizes)
    every = [row for group in rows.values() for row in group]
    tables.write_csv(every, directory / "table.csv", columns(sizes))
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    text, plain = "", []
    for (dataset, comparison), group in rows.items():
        drawn = points(group, sizes)
        plain += [{"dataset": dataset, "comparison": comparison} | p for p in drawn]
        name = f"{dataset}-{comparison}".replace("/", "_").replace(" ", "_")
        title = f"{dataset}, {comparison}"
        path = directory / f"accuracy_over_time-{name}.png"
        label = "difference in test accuracy (points)"
        paired = _differences(drawn)
        plots.accuracy_over_time(paired, path, title, group[0].use.name, label)
        text += f"{title}\n\n{tables.markdown(group, shown_columns(sizes))}\n"
    rounds = min(t["rounds"] for row in every for t in row.times.values())
    text += (
        f"{CONVENTION}. Accuracy: mean ± sample standard deviation of "
        f"the seeds on the same {images} test images. Difference: from "
        f"{_held_against(every)}, with the same seed's weights. Speed: median "
        f"over {rounds} rounds or more, all in turns, of the first's time in a round "
        f"over the use's (quartiles), on {device}, jax {jax.__version__}.\n"
    )
    storage.write_text(directory / "table.md", text)
    results = {"points": plain, "device": device, "jax": jax.__version__}
    storage.write_json(directory / "results.json", results)
    return directory


def _held_against(rows: list[Row]) -> str:
    """Return what accuracies are held against: "8 blocks (fine-tuned: ...)"."""
    names = {
        tuned: dict.fromkeys(r.use.against for r in rows if r.use.tuned == tuned)
        for tuned in (False, True)
    }
    first, tuned = (" or ".join(names[kind]) for kind in (False, True))
    return f"{first} (fine-tuned: {tuned})" if tuned else first


def _weights(row: Row) -> str:
    if row.use.tuned:
        return "fine-tuned"
    return "off the shelf" if row.use.model else "its own"


def _deviation(values: np.ndarray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _std(values: np.ndarray) -> float | None:
    deviation = _deviation(values)
    return None if deviation is None else 100 * deviation


def _spread(values: np.ndarray) -> str:
    mean, std = 100 * float(values.mean()), _std(values)
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def _time(size: int, key: str) -> Callable[[Row], float]:
    return lambda row: row.times[size][key]


def _saved(size: int) -> Callable[[Row], float | None]:
    return lambda row: row.saved_share(size)


def _speed(size: int) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        time = row.times[size]
        low, high = 1 / time["ratio_high"], 1 / time["ratio_low"]
        return f"{1 / time['ratio']:.2f} ({low:.2f} to {high:.2f})"

    return cell
