"""Figures from arrays: each function draws one PNG and returns its path.

Nothing here knows a model, a data set or a run; whoever has the arrays passes them.
"""

from tokenjax.plots.classification import confusion_matrix, predictions
from tokenjax.plots.comparison import accuracy_bars
from tokenjax.plots.looks import draw_looks
from tokenjax.plots.training import training_curves
from tokenjax.plots.vdpa import alpha_per_block, effective_keys, pooling_weights

__all__ = [
    "accuracy_bars",
    "alpha_per_block",
    "confusion_matrix",
    "draw_looks",
    "effective_keys",
    "pooling_weights",
    "predictions",
    "training_curves",
]
