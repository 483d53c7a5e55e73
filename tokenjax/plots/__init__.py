"""Figures from arrays: each function draws one PNG and returns its path.

Nothing here knows a model, a data set or a run; whoever has the arrays passes them.
"""

from tokenjax.plots.classification import confusion_matrix, predictions
from tokenjax.plots.comparison import accuracy_bars
from tokenjax.plots.cost import latency_over_flops
from tokenjax.plots.looks import draw_looks
from tokenjax.plots.loss_curves import gradient_norms, loss_curves
from tokenjax.plots.modalities import (
    aggregation_weights,
    kept_by_modality,
    selection_scores,
)
from tokenjax.plots.per_class import recall_per_class
from tokenjax.plots.retrieval import cmc_curve, feature_map, rank_lists
from tokenjax.plots.routing import attention_scores, patch_scores, routed_patches
from tokenjax.plots.routing_cost import routing_cost
from tokenjax.plots.routing_curves import routing_curves
from tokenjax.plots.tokens import class_attention, kept_patches
from tokenjax.plots.tradeoff import accuracy_over_flops, accuracy_over_latency
from tokenjax.plots.training import training_curves
from tokenjax.plots.vdpa import alpha_per_block, effective_keys, pooling_weights

__all__ = [
    "accuracy_bars",
    "accuracy_over_flops",
    "accuracy_over_latency",
    "aggregation_weights",
    "alpha_per_block",
    "attention_scores",
    "class_attention",
    "cmc_curve",
    "confusion_matrix",
    "draw_looks",
    "effective_keys",
    "feature_map",
    "gradient_norms",
    "kept_by_modality",
    "kept_patches",
    "latency_over_flops",
    "loss_curves",
    "patch_scores",
    "pooling_weights",
    "predictions",
    "rank_lists",
    "recall_per_class",
    "routed_patches",
    "routing_cost",
    "routing_curves",
    "selection_scores",
    "training_curves",
]
