"""A run that goes on: longer or shorter than it was begun, and what it reads no more.

The learning rate is a function of the step and of the run's whole length. Where that
changes the schedule is laid anew, over all steps from the first: the rate may jump at
the step where the run stands, which is said.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import optax

from tokenjax.errors import UserError
from tokenjax.training.settings import Settings
from tokenjax.training.workdir import LENGTH, changed_starting_keys


def check_length(settings: Settings, step: int, num_examples: int) -> None:
    """Raise a UserError if a run would end before the step where it stands."""
    total = settings.total_steps(num_examples)
    if step <= total:
        return
    key = "steps" if settings.steps else "epochs"
    least = step if settings.steps else step * settings.batch_size / num_examples
    raise UserError(
        f"config: {key}={getattr(settings, key):g} is {total} steps, but {step} are "
        f"done; give {key} of at least {least:.6g}, or name another --workdir"
    )


def had_length(settings: Settings, earlier: Mapping[str, Any]) -> Settings:
    """Return the settings with the length of an earlier configuration."""
    length = {key: earlier.get(key, getattr(settings, key)) for key in LENGTH}
    return dataclasses.replace(settings, **length)


def describe_length(
    step: int, lengths: Sequence[int], schedules: Sequence[optax.Schedule]
) -> str:
    """Return the sentence for a run of another length.

    Args:
      step: where it stands.
      lengths: its steps, as it was begun and as it goes on.
      schedules: its learning rate, likewise.
    """
    before, after = (float(schedule(step)) for schedule in schedules)
    return (
        f"the run is {lengths[1]} steps long, was {lengths[0]}: its schedule is laid "
        f"anew, and the learning rate at step {step} is {after:.3g}, was {before:.3g}"
    )


def describe_unread(earlier: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each changed key that a begun run does not read again."""
    return [
        f"{key} is another than at the run's start, which alone reads it"
        for key in changed_starting_keys(earlier, config)
    ]
