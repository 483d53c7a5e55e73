"""What is learned: one class for each task, by name in the registry of tasks."""

from tokenjax.training.tasks.classification import Classification
from tokenjax.training.tasks.pruning import Pruning
from tokenjax.training.tasks.reid import Reidentification
from tokenjax.training.tasks.routing import Routing
from tokenjax.training.tasks.shrinking import Shrinking
from tokenjax.training.tasks.task import Task

__all__ = [
    "Classification",
    "Pruning",
    "Reidentification",
    "Routing",
    "Shrinking",
    "Task",
]
