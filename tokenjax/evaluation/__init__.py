"""Metrics as plain functions on arrays: nothing here knows a model or a data set."""

from tokenjax.evaluation.classification import summarize
from tokenjax.evaluation.routing import summarize_routing, target_patches
from tokenjax.evaluation.shots import accuracy_by_shots

__all__ = ["accuracy_by_shots", "summarize", "summarize_routing", "target_patches"]
