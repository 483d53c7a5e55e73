"""Checkpoints of a run: written, verified, set aside when damaged, read again."""

from tokenjax.training.checkpoints.run_checkpoints import FOLDER, Checkpoints
from tokenjax.training.checkpoints.weights import (
    Weights,
    has_begun,
    load_initial_variables,
    load_weights,
    read_card,
)

__all__ = [
    "FOLDER",
    "Checkpoints",
    "Weights",
    "has_begun",
    "load_initial_variables",
    "load_weights",
    "read_card",
]
