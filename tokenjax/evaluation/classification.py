"""Metrics of a single-label classifier, from its best classes and losses per example.

    precision = TP / (TP + FP)   recall = TP / (TP + FN)   f1 = 2 TP / (2 TP + FP + FN)

What was not measured is None:

    a class without an example in the labels   its three scores: nothing could be right
    top k of fewer than k classes              there is no k-th class to look among
    a loss that is no finite number            JSON has no other way to write it

A class that has examples and is never predicted has a precision of 0, not of 0/0, as in
scikit-learn's reports: it was there to be found, and a macro mean that passed it over
would be the better the fewer classes a model ever names. Averages over classes:

    macro      plain mean over the classes that have examples; "classes" says how many
               these are, "left_out" how many have none
    weighted   mean over the same, weighted by support (examples with that label)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

TOP = (1, 5)  # among so many likeliest classes an example's own is looked for
SCORES = ("precision", "recall", "f1")
UNMEASURED: dict[str, None] = dict.fromkeys(SCORES)


def top_accuracies(
    labels: np.ndarray, ranked: np.ndarray, num_classes: int
) -> dict[str, float | None]:
    """Return {"top1": ..., ...}: the shares of examples with their class among k.

    None where there are fewer than k classes. Of fewer ranks than k all count.

    Args:
      labels: (n,) integers.
      ranked: (n, r) integers, the r likeliest classes, best first.
      num_classes: that there are to choose from.
    """
    hits = ranked == labels[:, None]  # (examples, r)
    return {
        f"top{k}": float(hits[:, :k].any(axis=1).mean()) if k <= num_classes else None
        for k in TOP
    }


def summarize(
    labels: np.ndarray,
    top_predictions: np.ndarray,
    losses: np.ndarray,
    num_classes: int,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compute all metrics of one evaluation as plain numbers, for `json.dump`.

    Args:
      labels: (n,) integers in 0..num_classes-1.
      top_predictions: (n, k) integers, the k likeliest classes, best first.
      losses: (n,) loss of each example.
      num_classes: rows and columns of the confusion matrix; a class that never occurs
        keeps its row and its entry under "per_class", with support 0.
      class_names: one name per class; "0", "1", ... where none are given.

    Returns:
      "examples"; "loss" (mean); what `top_accuracies` gives; "macro" and "weighted"
      with precision, recall and f1, the former with "classes" and "left_out"; by class
      "per_class"; "confusion_matrix", a list of rows (true class) of counts by
      predicted class.

    Raises:
      ValueError: no examples, shapes that disagree, or a class out of range.
    """
    labels, ranked = np.asarray(labels), np.asarray(top_predictions)
    losses = np.asarray(losses, dtype=np.float64)
    _check(labels, ranked, losses, num_classes)
    names = _names(class_names, num_classes)
    return {
        "examples": int(labels.size),
        "loss": finite(losses.mean()),
        **top_accuracies(labels, ranked, num_classes),
        **_by_class(labels, ranked[:, 0], names),
    }


def finite(value: float) -> float | None:
    """Return a number as Python's own, None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def _by_class(
    labels: np.ndarray, predictions: np.ndarray, names: list[str]
) -> dict[str, Any]:
    """Compute the confusion matrix and all that follows from it.

    `labels` and `predictions` are (n,).
    """
    from sklearn import metrics  # slow to import, and only an evaluation needs it

    classes = list(range(len(names)))
    matrix = metrics.confusion_matrix(labels, predictions, labels=classes)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predictions, labels=classes, zero_division=0
    )
    scores = np.stack([precision, recall, f1])  # (3, classes)
    there = support > 0
    measured = int(there.sum())
    return {
        "macro": {
            **_scores(scores[:, there].mean(axis=1)),
            "classes": measured,
            "left_out": len(names) - measured,
        },
        "weighted": _scores(scores @ support / support.sum()),
        "per_class": [
            {
                "name": name,
                **(_scores(scores[:, index]) if there[index] else UNMEASURED),
                "support": int(support[index]),
            }
            for index, name in enumerate(names)
        ],
        "confusion_matrix": matrix.tolist(),
    }


def _scores(values: np.ndarray) -> dict[str, float]:
    """Name the three scores (3,)."""
    return dict(zip(SCORES, values.tolist(), strict=True))


def _names(class_names: Sequence[str] | None, num_classes: int) -> list[str]:
    if class_names is None:
        return [str(index) for index in range(num_classes)]
    if len(class_names) != num_classes:
        raise ValueError(f"{len(class_names)} class names for {num_classes} classes")
    return [str(name) for name in class_names]


def _check(
    labels: np.ndarray, ranked: np.ndarray, losses: np.ndarray, num_classes: int
) -> None:
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"labels must be (n,) with n > 0, got shape {labels.shape}")
    if ranked.ndim != 2 or len(ranked) != labels.size or ranked.shape[1] == 0:
        raise ValueError(
            f"top_predictions must be ({labels.size}, k) with k > 0, "
            f"got shape {ranked.shape}"
        )
    if losses.shape != labels.shape:
        raise ValueError(f"losses must be ({labels.size},), got shape {losses.shape}")
    for kind, values in (("labels", labels), ("top_predictions", ranked)):
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{kind} must be integers, got {values.dtype}")
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(
                f"{kind} must be within 0..{num_classes - 1}, "
                f"got {values.min()}..{values.max()}"
            )
