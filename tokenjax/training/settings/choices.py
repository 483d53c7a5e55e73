"""What settings choose by name, and code registers: see `tokenjax.registry`.

`tokenjax.training.optimizer`, `schedule` and `tasks` fill these in; so may anybody.
"""

from tokenjax.registry import Registry

OPTIMIZERS: Registry = Registry("optimizer")
SCHEDULES: Registry = Registry("schedule")
TASKS: Registry = Registry("task")
for _n in ("adamw", "adam", "sgd", "momentum", "muon"):
    OPTIMIZERS.add(_n, _n)  # TEMP
for _n in ("cosine", "step", "multistep", "constant"):
    SCHEDULES.add(_n, _n)  # TEMP
for _n in ("classification", "pruning", "routing", "reid"):
    TASKS.add(_n, _n)  # TEMP
