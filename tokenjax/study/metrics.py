"""What a study's table can show of a run's evaluation.json."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tokenjax import tables

Summary = dict[str, Any]  # an evaluation.json, or a row of the table


@dataclasses.dataclass(frozen=True)
class Metric:
    """A column: its heading, its value in a run (None: not measured), its unit."""

    heading: str
    value: Callable[[Summary], float | None]
    percent: bool = True
    magnitude: bool = False  # its power of ten is what matters, not its spread

    def show(
        self, mean: float | None, std: float | None, measured: int = 0, runs: int = 0
    ) -> str:
        """Write a cell of the table; `std` is None where there is one seed.

        If fewer runs than there are were `measured`, the cell says so.
        """
        if mean is None:
            return tables.NOTHING
        of = f" ({measured} of {runs} runs)" if measured < runs else ""
        if self.magnitude:
            return f"{mean:.1e}{of}"
        scale = 100 if self.percent else 1
        spread = "" if std is None else f" ± {scale * std:.2f}"
        return f"{scale * mean:.2f}{spread}{of}"


def _at(*keys: str) -> Callable[[Summary], float | None]:
    """Return a function that follows the keys; None where one is not there."""

    def value(summary: Summary) -> float | None:
        found: Any = summary
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    return value


def _model(key: str) -> Callable[[Summary], float | None]:
    def value(summary: Summary) -> float | None:
        values = summary.get("model", {}).get(key)
        return float(np.mean(values)) if values else None

    return value


def _gradient(part: str) -> Callable[[Summary], float | None]:
    """Return the median over the run; "log" are the columns of its history.json."""

    def value(summary: Summary) -> float | None:
        values = summary.get("log", {}).get(f"gradient_norm_{part}", [])
        known = [value for value in values if value is not None]
        return float(np.median(known)) if known else None

    return value


def _gradient_column(part: str) -> Metric:
    heading = f"gradient norm: {part}"
    return Metric(heading, _gradient(part), percent=False, magnitude=True)


ROUTED_MFLOPS = _at("routing", "mflops")
METRICS = {
    "top1": Metric("test accuracy, %", _at("top1")),
    "macro_f1": Metric("macro F1, %", _at("macro", "f1")),
    "weighted_f1": Metric("weighted F1, %", _at("weighted", "f1")),
    "balanced": Metric("balanced accuracy, %", _at("macro", "recall")),
    "many": Metric("many-shot, %", _at("shots", "many", "accuracy")),
    "medium": Metric("medium-shot, %", _at("shots", "medium", "accuracy")),
    "few": Metric("few-shot, %", _at("shots", "few", "accuracy")),
    "alpha": Metric("alpha", _model("alpha"), percent=False),
    "effective_keys": Metric("effective keys", _model("effective_keys"), percent=False),
    "routing_ratio": Metric("routed to the big network, %", _at("routing", "ratio")),
    "target_recall": Metric(
        "target patches routed, %", _at("routing", "target_recall")
    ),
    "score_std": Metric("score spread", _at("routing", "score_std"), percent=False),
    "mAP": Metric("mAP, %", _at("mAP")),
    "rank1": Metric("rank-1, %", _at("rank1")),
    "mINP": Metric("mINP, %", _at("mINP")),
    "mAP_direct": Metric("mAP direct, %", _at("features", "direct", "mAP")),
    "mAP_fused": Metric("mAP fused, %", _at("features", "fused", "mAP")),
    **{
        f"gradient_{part}": _gradient_column(part)
        for part in ("backbone", "fusion", "heads")
    },
    "minutes": Metric("minutes", _at("minutes"), percent=False),
}
