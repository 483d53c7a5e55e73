"""Accuracy on classes with many, some and few training examples.

The three groups in which long-tailed recognition is reported: Liu et al. 2019,
"Large-Scale Long-Tailed Recognition in an Open World" (arXiv 1904.05160).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def accuracy_by_shots(
    recall_per_class: np.ndarray | Sequence[float | None],
    train_counts: np.ndarray,
    many_shot: int = 100,
    few_shot: int = 20,
) -> dict[str, dict[str, Any]]:
    """Average the recall of the classes of each group, as plain numbers.

    Args:
      recall_per_class: (classes,), each class's accuracy; None or NaN of one without
        an example in the split, which then enters no mean.
      train_counts: (classes,) training examples.
      many_shot: a class with more training examples than this is "many".
      few_shot: a class with fewer training examples than this is "few"; the rest is
        "medium".

    Returns:
      "many", "medium" and "few", each {"classes": how many, "left_out": how many of
      them have no example in the split, "accuracy": mean recall of the others, None
      where there are none}.

    Raises:
      ValueError: many_shot below few_shot (a class could be both), or shapes that
        disagree.
    """
    recall = np.asarray(recall_per_class, np.float64)  # None becomes NaN
    counts = np.asarray(train_counts)
    if many_shot < few_shot:
        raise ValueError(
            f"many_shot ({many_shot}) must not be below few_shot ({few_shot})"
        )
    if recall.ndim != 1 or recall.shape != counts.shape:
        raise ValueError(
            "recall_per_class and train_counts must both be (classes,), "
            f"got shapes {recall.shape} and {counts.shape}"
        )
    many, few = counts > many_shot, counts < few_shot  # (classes,) each
    groups = {"many": many, "medium": ~many & ~few, "few": few}
    return {name: _group(recall[members]) for name, members in groups.items()}


def _group(recall: np.ndarray) -> dict[str, Any]:
    """Summarize the classes of one group (members,)."""
    known = recall[~np.isnan(recall)]
    return {
        "classes": len(recall),
        "left_out": len(recall) - len(known),
        "accuracy": float(known.mean()) if len(known) else None,
    }
