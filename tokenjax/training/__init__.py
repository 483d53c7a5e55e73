"""One training loop for all tasks, its settings, and evaluation of what it made."""

from tokenjax.training.settings import (
    Settings,
    default_config,
    select_variant,
)

__all__ = ["Settings", "default_config", "select_variant"]
