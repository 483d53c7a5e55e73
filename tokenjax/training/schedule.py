"""Learning-rate schedules by name, each after a linear warm-up from 0.

    from tokenjax.training.schedule import Course
    from tokenjax.training.settings.choices import SCHEDULES

    @SCHEDULES.register("inverse_root")
    def inverse_root(course: Course) -> optax.Schedule:
        return lambda step: course.top / jnp.sqrt(1 + step)

adds one: `--config.schedule.name=inverse_root` then takes it.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from tokenjax.training import plateau
from tokenjax.training.settings import Schedule, Settings
from tokenjax.training.settings.choices import SCHEDULES


@dataclasses.dataclass(frozen=True)
class Course:
    """What a schedule is made of; it gives the rate at steps after the warm-up.

    Attributes:
      top: the learning rate when the warm-up is over.
      warmup: steps of the warm-up, before the schedule's own.
      steps: of the run after the warm-up, at least 1.
      epochs: likewise, above 0.
      settings: the section `schedule`.
      in_steps: epochs as a whole number of steps.
    """

    top: float
    warmup: int
    steps: int
    epochs: float
    settings: Schedule
    in_steps: Callable[[float], int]


@SCHEDULES.register("cosine")
def cosine(course: Course) -> optax.Schedule:
    """Return half a cosine from the top to `minimum_learning_rate`.

    With `stepping` "epoch" the rate stands still within an epoch, as PyTorch's does
    where it is stepped after each: epoch e of E has the cosine's value at e / E.
    """
    end = course.settings.minimum_learning_rate / course.top if course.top else 0.0
    if course.settings.stepping == "step":
        return optax.cosine_decay_schedule(course.top, course.steps, alpha=end)
    by_epoch = optax.cosine_decay_schedule(course.top, course.epochs, alpha=end)
    every = max(course.in_steps(1.0), 1)
    return lambda step: by_epoch(jnp.asarray(step) // every)


@SCHEDULES.register("step")
def step(course: Course) -> optax.Schedule:
    """Return the top times `factor` every `step_epochs`, from the run's start."""
    every = max(course.in_steps(course.settings.step_epochs), 1)

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        falls = jnp.floor((step + course.warmup) / every)
        return course.top * course.settings.factor**falls

    return rate


@SCHEDULES.register("multistep")
def multistep(course: Course) -> optax.Schedule:
    """Return the top times `factor` at each of `milestones`, from the run's start."""
    scales = {
        max(course.in_steps(epochs) - course.warmup, 0): course.settings.factor
        for epochs in course.settings.milestones
    }
    return optax.piecewise_constant_schedule(course.top, scales)


@SCHEDULES.register("constant")
def constant(course: Course) -> optax.Schedule:
    """Return the top, always."""
    return optax.constant_schedule(course.top)


@SCHEDULES.register(plateau.NAME)
def wait_for_plateaus(course: Course) -> optax.Schedule:
    """Return the top; what an evaluation makes of it is the optimiser's to know."""
    return optax.constant_schedule(course.top)


def make_schedule(settings: Settings, num_examples: int) -> optax.Schedule:
    """Return the learning rate by step (from 0), in a trace or out of it.

    Raises: UserError for a schedule that nobody registered.
    """
    schedule, top = settings.schedule, settings.optimizer.learning_rate
    warmup = settings.in_steps(schedule.warmup_epochs, num_examples)
    steps = max(settings.total_steps(num_examples) - warmup, 1)
    epochs = settings.epochs - schedule.warmup_epochs
    if settings.steps or epochs <= 0:
        epochs = steps * settings.batch_size / max(num_examples, 1)
    course = Course(
        top=top,
        warmup=warmup,
        steps=steps,
        epochs=epochs,
        settings=schedule,
        in_steps=lambda epochs: settings.in_steps(epochs, num_examples),
    )
    main = SCHEDULES[schedule.name](course)
    if not warmup:
        return main
    rise = optax.linear_schedule(0.0, top, warmup)
    return optax.join_schedules([rise, main], [warmup])
