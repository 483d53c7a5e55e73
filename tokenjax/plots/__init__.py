"""Figures from arrays: each function draws one PNG and returns its path.

Nothing here knows a model, a data set or a run; whoever has the arrays passes them.
matplotlib is imported with the first function that is asked for. `register_figure` adds
a figure of what a model reports in `aux`.
"""

import importlib
import pathlib
from collections.abc import Callable

from tokenjax.plots.looks import (
    Look,
    average_blocks,
    collect,
    draw_looks,
    draw_rows,
    has_rows,
    image_axis,
    patch_maps,
    register_figure,
)
from tokenjax.plots.small_pictures import Row

_FILES = {  # a function -> the file of this folder that holds it
    "accuracy_bars": "comparison",
    "accuracy_over_flops": "tradeoff",
    "accuracy_over_latency": "tradeoff",
    "accuracy_over_time": "accuracy_time",
    "aggregation_weights": "modalities",
    "alpha_per_block": "vdpa",
    "attention_by_model": "model_attention",
    "attention_scores": "routing",
    "class_attention": "tokens",
    "class_counts": "class_bars",
    "cmc_curve": "retrieval",
    "confusion_matrices": "confusion_panels",
    "confusion_matrix": "classification",
    "contact_sheet": "sheets",
    "effective_keys": "vdpa",
    "feature_map": "retrieval",
    "gradient_norms": "variant_curves",
    "kept_by_modality": "modalities",
    "kept_patches": "tokens",
    "latency_over_flops": "cost",
    "loss_curves": "variant_curves",
    "patch_scores": "routing",
    "pooling_weights": "vdpa",
    "predictions": "classification",
    "rank_lists": "retrieval",
    "recall_per_class": "per_class",
    "retrieval_curves": "retrieval_history",
    "routed_patches": "routing",
    "routing_cost": "routed_time",
    "routing_curves": "router_history",
    "selection_scores": "modalities",
    "sweep_panels": "sweep",
    "token_regions": "regions",
    "training_curves": "training",
}

__all__ = [
    "Look",
    "Row",
    "average_blocks",
    "collect",
    "draw_looks",
    "draw_rows",
    "has_rows",
    "image_axis",
    "patch_maps",
    "register_figure",
    *_FILES,
]


def __getattr__(name: str) -> Callable[..., pathlib.Path]:
    """Import a function that draws when it is first asked for."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file = importlib.import_module(f"{__name__}.{_FILES[name]}")
    return getattr(file, name)
