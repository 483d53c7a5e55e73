"""Metrics of a single-label classifier, from its best classes and losses per example.

    precision = TP / (TP + FP)   recall = TP / (TP + FN)   f1 = 2 TP / (2 TP + FP + FN)

each 0 where its denominator is 0. Averages over classes:

    macro      plain mean over the classes that occur in the labels or the predictions;
               one that occurs in neither says nothing about the model and is left out
    weighted   mean over all classes, weighted by support (examples with that label)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

TOP = (1, 5)  # among so many likeliest classes an example's own is looked for


def top_accuracies(labels: np.ndarray, ranked: np.ndarray) -> dict[str, float]:
    """Return {"top1": ..., ...}: the shares of examples with their class among k.

    Args:
      labels: (n,) integers.
      ranked: (n, k) integers, the k likeliest classes, best first; of less than some of
        `TOP` all count.
    """
    hits = ranked == labels[:, None]  # (examples, k)
    return {f"top{k}": float(hits[:, :k].any(axis=1).mean()) for k in TOP}


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
      with precision, recall and f1; "per_class"; "confusion_matrix", a list of rows
      (true class) of counts by predicted class.

    Raises:
      ValueError: no examples, shapes that disagree, or a class out of range.
    """
    labels, ranked = np.asarray(labels), np.asarray(top_predictions)
    losses = np.asarray(losses, dtype=np.float64)
    _check(labels, ranked, losses, num_classes)
    names = _names(class_names, num_classes)
    return {
        "examples": int(labels.size),
        "loss": float(losses.mean()),
        **top_accuracies(labels, ranked),
        **_by_class(labels, ranked[:, 0], names),
    }


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
    occurs = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    return {
        "macro": _scores(scores[:, occurs].mean(axis=1)),
        "weighted": _scores(scores @ support / support.sum()),
        "per_class": [
            {"name": name, **_scores(scores[:, index]), "support": int(support[index])}
            for index, name in enumerate(names)
        ],
        "confusion_matrix": matrix.tolist(),
    }


def _scores(values: np.ndarray) -> dict[str, float]:
    """Name the three scores (3,)."""
    return dict(zip(("precision", "recall", "f1"), values.tolist(), strict=True))


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
