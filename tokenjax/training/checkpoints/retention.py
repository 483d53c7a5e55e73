"""Which checkpoints of a run are kept: the newest few, and the best.

To add a rule, give the section `checkpoint` a setting and `policy` what it asks for.
"""

import math
from collections.abc import Collection, Sequence

from orbax.checkpoint import checkpoint_managers

from tokenjax.training.checkpoints.checkpoint_files import METRIC
from tokenjax.training.settings import Checkpoint


def policy(
    settings: Checkpoint, unevaluated: Collection[int]
) -> checkpoint_managers.PreservationPolicy:
    """Return what Orbax asks after every save; kept is what any of the rules keeps.

    Args:
      settings: the section `checkpoint`.
      unevaluated: steps whose metric is a mark of an earlier format.
    """
    newest = checkpoint_managers.LatestN(settings.keep)
    return checkpoint_managers.AnyPreservationPolicy([newest, _Best(unevaluated)])


def best_of(metrics: dict[int, float | None]) -> int | None:
    """Return the step with the largest metric, of equal ones the newest.

    One that was evaluated is better than any that was not; None without any step.
    """

    def rank(step: int) -> tuple[float, int]:
        metric = metrics[step]
        return -math.inf if metric is None else metric, step

    return max(metrics, key=rank, default=None)


class _Best(checkpoint_managers.PreservationPolicy):
    """Keeps the best one; Orbax's own would take an earlier format's mark as metric."""

    def __init__(self, unevaluated: Collection[int]):
        self._unevaluated = unevaluated

    def should_preserve(
        self,
        checkpoints: Sequence[checkpoint_managers.PolicyCheckpointInfo],
        *,
        context: checkpoint_managers.PreservationContext,
    ) -> Sequence[bool]:
        """Return for each checkpoint whether it is the best."""
        del context
        metrics = {
            info.step: info.metrics[METRIC]
            if info.metrics is not None and info.step not in self._unevaluated
            else None
            for info in checkpoints
        }
        best = best_of(metrics)
        return [info.step == best for info in checkpoints]
