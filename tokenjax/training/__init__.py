"""One training loop for all tasks, its settings, and evaluation of what it made.

Importing it fills the registries of `tokenjax.training.settings.choices`.
"""

from tokenjax.training.settings import (  # first: what follows reads it
    Settings,
    default_config,
    select_variant,
)

from tokenjax.training import optimizer, schedule, tasks  # isort: skip

__all__ = [
    "Settings",
    "default_config",
    "optimizer",
    "schedule",
    "select_variant",
    "tasks",
]
