"""What a study's table can show of a run's evaluation.json."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Summary = dict[str, Any]  # an evaluation.json, or a row of the table


@dataclasses.dataclass(frozen=True)
class Metric:
    """A column: its heading, its value in a run (None: has none), its unit."""

    heading: str
    value: Callable[[Summary], float | None]
    percent: bool = True
    magnitude: bool = False  # its power of ten is what matters, not its spread

    def show(self, mean: float | None, std: float | None) -> str:
        """Write a cell of the table; `std` is None where there is one seed."""
        if mean is None:
            return "–"
        if self.magnitude:
            return f"{mean:.1e}"
        scale = 100 if self.percent else 1
        spread = "" if std is None else f" ± {scale * std:.2f}"
        return f"{scale * mean:.2f}{spread}"


def _shots(group: str) -> Callable[[Summary], float | None]:
    return lambda summary: summary.get("shots", {}).get(group, {}).get("accuracy")


def _model(key: str) -> Callable[[Summary], float | None]:
    def value(summary: Summary) -> float | None:
        values = summary["model"].get(key)
        return None if values is None else float(np.mean(values))

    return value


def _routing(key: str) -> Callable[[Summary], float | None]:
    return lambda summary: summary.get("routing", {}).get(key)


def _gradient(part: str) -> Callable[[Summary], float | None]:
    """Return the median over the run; "log" are the columns of its history.json."""

    def value(summary: Summary) -> float | None:
        values = summary.get("log", {}).get(f"gradient_norm_{part}")
        return None if not values else float(np.median(values))

    return value


def _gradient_column(part: str) -> Metric:
    heading = f"gradient norm: {part}"
    return Metric(heading, _gradient(part), percent=False, magnitude=True)


ROUTED_MFLOPS = _routing("mflops")
METRICS = {
    "top1": Metric("test accuracy, %", lambda summary: summary["top1"]),
    "macro_f1": Metric("macro F1, %", lambda summary: summary["macro"]["f1"]),
    "weighted_f1": Metric("weighted F1, %", lambda summary: summary["weighted"]["f1"]),
    "balanced": Metric(
        "balanced accuracy, %", lambda summary: summary["macro"]["recall"]
    ),
    "many": Metric("many-shot, %", _shots("many")),
    "medium": Metric("medium-shot, %", _shots("medium")),
    "few": Metric("few-shot, %", _shots("few")),
    "alpha": Metric("alpha", _model("alpha"), percent=False),
    "effective_keys": Metric("effective keys", _model("effective_keys"), percent=False),
    "routing_ratio": Metric("routed to the big network, %", _routing("ratio")),
    "target_recall": Metric("target patches routed, %", _routing("target_recall")),
    "score_std": Metric("score spread", _routing("score_std"), percent=False),
    "mAP": Metric("mAP, %", lambda summary: summary["mAP"]),
    "rank1": Metric("rank-1, %", lambda summary: summary["rank1"]),
    "mINP": Metric("mINP, %", lambda summary: summary["mINP"]),
    "mAP_direct": Metric("mAP direct, %", lambda s: s["features"]["direct"]["mAP"]),
    "mAP_fused": Metric("mAP fused, %", lambda s: s["features"]["fused"]["mAP"]),
    **{
        f"gradient_{part}": _gradient_column(part)
        for part in ("backbone", "fusion", "heads")
    },
    "minutes": Metric("minutes", lambda summary: summary.get("minutes"), percent=False),
}
