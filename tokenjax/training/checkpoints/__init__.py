"""Checkpoints of a run: written, verified, set aside when damaged, read again."""

from tokenjax.training.checkpoints.run_checkpoints import (
    FOLDER,
    Checkpoints,
    has_begun,
    load_initial_variables,
)

__all__ = ["FOLDER", "Checkpoints", "has_begun", "load_initial_variables"]
