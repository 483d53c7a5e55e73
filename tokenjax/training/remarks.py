"""What a run's settings ask for that the run is too short for, or that costs unsaid.

Nothing here is wrong by itself; each remark is a line at the start of a run, so that a
number at its end is not taken for what it is not.
"""

import math
from collections.abc import Iterator

import optax

from tokenjax.models import contract
from tokenjax.training import plateau
from tokenjax.training.schedule import make_schedule
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.losses import name_criterion

SAMPLES = 9  # of a schedule, from its first step to its last
STATISTICS_MOVE = 0.1  # a step, of batch normalisation's running averages
STATISTICS_LEFT = 0.01  # so much of what they began with may be left


def find_remarks(
    settings: Settings,
    num_examples: int,
    schedule: optax.Schedule | None = None,
    model: contract.Model | None = None,
    has_statistics: bool = False,
) -> list[str]:
    """Return a sentence for each thing that a run's user should know at its start.

    Args:
      settings: of the run.
      num_examples: of the training split.
      schedule: the task's learning rate, if it is not the settings' own.
      model: that is trained.
      has_statistics: whether it normalises by statistics of its batch.
    """
    total = settings.total_steps(num_examples)
    own = schedule or make_schedule(settings, num_examples)
    found = [
        *_of_length(settings, num_examples),
        *_of_rate(settings, num_examples, total, own),
        *_of_rates(settings, num_examples, total),
        *_of_averages(settings, total),
        *_of_evaluations(settings),
        *_of_task(settings, num_examples, total),
        *_of_pauses(settings, num_examples, total),
    ]
    if has_statistics:
        found += _of_statistics(settings, total)
    if isinstance(model, contract.Crops) and any(model.unseen_pixels()):
        rows, columns = model.unseen_pixels()
        found.append(
            f"the last {rows} rows and {columns} columns of every image fill no patch "
            f"and are not seen by {settings.model['name']}"
        )
    return found


def _of_length(settings: Settings, num_examples: int) -> Iterator[str]:
    steps = settings.epochs * num_examples / settings.batch_size
    if not settings.steps and steps < 0.5:
        yield (
            f"epochs {settings.epochs:g} are {steps:.2g} of a step of "
            f"{settings.batch_size} examples: the run has one step"
        )


def _of_rate(
    settings: Settings, num_examples: int, total: int, schedule: optax.Schedule
) -> Iterator[str]:
    section = settings.schedule
    highest = _find_highest(schedule, total)
    if not highest:
        yield (
            f"the learning rate is 0 at {_every_step(total)}: nothing is learned (a "
            "warm-up begins with 0)"
        )
    elif settings.in_steps(section.warmup_epochs, num_examples) >= total:
        yield (
            f"schedule.warmup_epochs {section.warmup_epochs:g} is no shorter than the "
            f"run, {_length(total)}: the learning rate gets to {highest:.3g} of "
            f"{settings.optimizer.learning_rate:g}"
        )
    if section.name == plateau.NAME:
        yield from _of_plateau(settings, num_examples, total)
    every = settings.in_steps(section.step_epochs, num_examples)
    if section.name == "step" and every >= total:
        yield (
            f"schedule.step_epochs {section.step_epochs:g} is no shorter than the "
            f"run, {_length(total)}: the learning rate does not fall"
        )
    if section.name == "multistep":
        beyond = [
            f"{epochs:g}"
            for epochs in section.milestones
            if settings.in_steps(epochs, num_examples) >= total
        ]
        if beyond:
            yield (
                f"schedule.milestones {', '.join(beyond)} are never reached: the run "
                f"ends after {_length(total)}"
            )


def _of_plateau(settings: Settings, num_examples: int, total: int) -> Iterator[str]:
    patience, epochs = settings.schedule.patience, settings.evaluate_every_epochs
    evaluations = total // max(settings.in_steps(epochs, num_examples), 1)
    if evaluations <= patience + 1:
        yield (
            f"schedule.patience {patience} is of evaluations, one every {epochs:g} "
            f"epochs, and the run has {evaluations}: the learning rate does not fall"
        )


def _find_highest(schedule: optax.Schedule, total: int) -> float:
    """Return the highest rate of those that are looked at, first and last included."""
    steps = {round(i * (total - 1) / (SAMPLES - 1)) for i in range(SAMPLES)}
    return max(float(schedule(step)) for step in steps)


def _of_averages(settings: Settings, total: int) -> Iterator[str]:
    decay = settings.ema_decay
    reached = math.ceil((10 * decay - 1) / (1 - decay))  # see `state`
    if decay and total < reached:
        yield (
            f"ema_decay {decay:g} is reached after {reached} steps, and the run has "
            f"{total}: the average that is evaluated is over its last tenth or so"
        )


def _of_evaluations(settings: Settings) -> Iterator[str]:
    criterion = name_criterion(settings)
    if settings.evaluation_loss == "criterion" and criterion != "cross_entropy":
        yield (
            f"validation/loss is the training's criterion, {criterion}; plain "
            "cross-entropy with evaluation_loss=cross_entropy"
        )


def _of_statistics(settings: Settings, total: int) -> Iterator[str]:
    left = (1 - STATISTICS_MOVE) ** total
    if left > STATISTICS_LEFT:
        yield (
            f"after {_length(total)} {left:.0%} of the running statistics of batch "
            "normalisation are still what they were at the start: an evaluation "
            "goes by them"
        )
    parts = settings.gradient_accumulation
    if parts > 1:
        yield (
            f"batch normalisation sees the {parts} parts of gradient_accumulation one "
            f"by one: statistics are of {settings.batch_size // parts} examples, not "
            f"of {settings.batch_size}, and the step is not quite the whole batch's"
        )


def _of_rates(settings: Settings, num_examples: int, total: int) -> Iterator[str]:
    epochs = settings.optimizer.network_after_epochs
    if epochs and settings.in_steps(epochs, num_examples) >= total:
        yield (
            f"optimizer.network_after_epochs {epochs:g} is no shorter than the run, "
            f"{_length(total)}: nothing learns but what judges the tokens"
        )


def _of_task(settings: Settings, num_examples: int, total: int) -> Iterator[str]:
    routing, reid = settings.routing, settings.reid
    first = settings.in_steps(routing.anneal_from_epochs, num_examples)
    last = settings.in_steps(routing.anneal_to_epochs, num_examples)
    if settings.task == "routing" and last > total:
        done = min(max((total - 1 - first) / max(last - first, 1), 0), 1)
        yield (
            f"routing.anneal_to_epochs {routing.anneal_to_epochs:g} is beyond the "
            f"run's end: annealing gets {done:.0%} of its way"
        )
    shrinking = settings.shrinking
    over = shrinking.from_epochs + shrinking.over_epochs
    if settings.task == "shrinking" and settings.in_steps(over, num_examples) > total:
        yield (
            f"shrinking.from_epochs and over_epochs end after {over:g} epochs, beyond "
            "the run's end: more tokens are kept to its end than in the evaluation"
        )
    waits = settings.in_steps(reid.direct_only_epochs, num_examples)
    if settings.task == "reid" and waits >= total:
        yield (
            f"reid.direct_only_epochs {reid.direct_only_epochs:g} is no shorter than "
            f"the run, {_length(total)}: the fused branch never learns"
        )


def _of_pauses(settings: Settings, num_examples: int, total: int) -> Iterator[str]:
    """Yield what is to happen every so often and happens at the end alone."""
    validation, saving = settings.evaluate_every_epochs, settings.checkpoint
    if settings.in_steps(validation, num_examples) > total:
        yield (
            f"evaluate_every_epochs {validation:g} is longer than the run: it is "
            "validated at its end alone"
        )
    save_every = saving.every_steps or settings.in_steps(
        saving.every_epochs, num_examples
    )
    if save_every > total:
        name = "every_steps" if saving.every_steps else "every_epochs"
        yield (
            f"checkpoint.{name} {getattr(saving, name):g} is longer than the run: "
            "it is saved where validation finds it best, and at its end"
        )


def _length(total: int) -> str:
    return f"{total} steps" if total > 1 else "one step"


def _every_step(total: int) -> str:
    return f"all {total} steps" if total > 1 else "the one step of the run"
