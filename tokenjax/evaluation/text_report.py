"""An evaluation as text, in the layout of scikit-learn's classification_report.

Scores are those of `evaluation.summarize`: means are over the classes that have
examples, and what was not measured is "-".
"""

from collections.abc import Mapping
from typing import Any

from tokenjax import tables

DIGITS = 3
LABELS = ("accuracy", "macro avg", "weighted avg")
SCORES = {"precision": "precision", "recall": "recall", "f1": "f1-score"}
WIDTH = 9  # of a column of scores


def write_report(summary: Mapping[str, Any]) -> str:
    """Return the report of an evaluation.

    Args:
      summary: of `evaluation.summarize`, perhaps with "split".
    """
    names = [row["name"] for row in summary["per_class"]]
    width = max(len(name) for name in (*names, *LABELS))
    total = summary["examples"]
    lines = [" " * width + " " + "".join(_right(SCORES[key]) for key in SCORES)]
    lines[0] += _right("support")
    lines += ["", *(_line(r["name"], r, width) for r in summary["per_class"]), ""]
    accuracy = {"f1": summary["top1"], "support": total}
    averages = (
        accuracy,
        {**summary["macro"], "support": total},
        {**summary["weighted"], "support": total},
    )
    lines += [
        _line(name, scores, width, blank=scores is accuracy)
        for name, scores in zip(LABELS, averages, strict=True)
    ]
    return "\n".join([*_heading(summary), "", *lines]) + "\n"


def _heading(summary: Mapping[str, Any]) -> list[str]:
    split = f"{summary['split']}: " if "split" in summary else ""
    top = {key: tables.shown(summary[key], ".2%") for key in ("top1", "top5")}
    loss = tables.shown(summary["loss"], ".4f")
    lines = [
        f"{split}{summary['examples']:,} images, top-1 {top['top1']}, "
        f"top-5 {top['top5']}, loss {loss}"
    ]
    if absent := summary["macro"]["left_out"]:
        classes = len(summary["per_class"])
        lines.append(f"averages leave out {absent} of {classes} classes: no image")
    return lines


def _line(name: str, scores: Mapping[str, Any], width: int, blank: bool = False) -> str:
    cells = []
    for key in SCORES:
        value = scores.get(key)
        empty = "" if blank else "-"
        cells.append(_right(empty if value is None else f"{value:.{DIGITS}f}"))
    return f"{name:>{width}} {''.join(cells)}{_right(str(scores['support']))}"


def _right(text: str) -> str:
    return f" {text:>{WIDTH}}"
