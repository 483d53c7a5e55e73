"""Every setting of a run, with its type, range, default and meaning."""

from tokenjax.training.settings.fields import FROM_WEIGHTS, LARGEST_COUNT
from tokenjax.training.settings.run_settings import (
    Settings,
    default_config,
    list_arguments,
    select_variant,
)
from tokenjax.training.settings.sections import (
    Checkpoint,
    Cluster,
    Distillation,
    Imbalance,
    Observation,
    Optimizer,
    Reid,
    Routing,
    Schedule,
    Shrinking,
)

__all__ = [
    "FROM_WEIGHTS",
    "LARGEST_COUNT",
    "Checkpoint",
    "Cluster",
    "Distillation",
    "Imbalance",
    "Observation",
    "Optimizer",
    "Reid",
    "Routing",
    "Schedule",
    "Settings",
    "Shrinking",
    "default_config",
    "list_arguments",
    "select_variant",
]
