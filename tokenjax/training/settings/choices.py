"""What settings choose by name, and code registers: see `tokenjax.registry`.

`tokenjax.training.optimizer`, `schedule` and `tasks` fill these in; so may anybody.
"""

from tokenjax.registry import Registry

OPTIMIZERS: Registry = Registry("optimizer")
SCHEDULES: Registry = Registry("schedule")
TASKS: Registry = Registry("task")
