"""Every setting of a run, with its type, default and meaning."""

from tokenjax.training.settings.run_settings import (
    Checkpoint,
    Cluster,
    Distillation,
    Imbalance,
    Observation,
    Optimizer,
    Reid,
    Routing,
    Schedule,
    Settings,
    default_config,
    select_variant,
)

__all__ = [
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
    "default_config",
    "select_variant",
]
