"""How long the runs of a reproduction are: what a budget of minutes buys on a machine.

Short runs of every model are trained first, twice each: the first says what compiling
and starting costs, the second what it costs where the program is known already, and
their steps what an image costs. From these

    budget = sum over runs of (cost of starting + images * seconds per image) / jobs

gives the images of a run, the same for all.
"""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Sequence

from ml_collections import ConfigDict

from tokenjax import storage
from tokenjax.errors import UserError
from tokenjax.study import runner
from tokenjax.study.plan import StudyRun
from tokenjax.training.observation.metric_log import PERFORMANCE

CALIBRATION_STEPS = 30
PRUNING_SHARE = 0.3  # of a run's images, what pruning learns from beyond its teacher
EVALUATIONS = 5  # of the validation split, over a run
LOG_ROWS = 50
LEAST_STEPS = 20  # a run of fewer says nothing
LEAST_SECONDS = 4.0  # of a run, on any machine: its start and its evaluation
IN_EPOCHS = ("warmup_epochs", "step_epochs")  # of a schedule


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds that a model's runs take: an image, and all else of a run."""

    per_image: float
    first_start: float
    start: float


def check_least(minutes: float, runs: Sequence[StudyRun], jobs: int) -> None:
    """Raise UserError for a budget in which no machine could do so many runs."""
    least = LEAST_SECONDS * len(runs) / jobs / 60
    if not minutes > least:
        raise UserError(_too_small(minutes, len(runs), least))


def images_per_run(
    minutes: float,
    runs: Sequence[StudyRun],
    costs: dict[str, Cost],
    jobs: int,
    batch_size: int,
    most: int,
) -> int:
    """Return how many images each run may learn from, a multiple of the batch.

    Args:
      minutes: that are left.
      runs: of the study.
      costs: by variant.
      jobs: runs at a time.
      batch_size: of all runs.
      most: images, beyond which nothing is bought.

    Raises: UserError for too few minutes.
    """
    fixed, per_image = 0.0, 0.0
    known = set()
    for run in runs:
        cost, program = costs[run.variant], (run.dataset, run.variant)
        fixed += cost.start if program in known else cost.first_start
        known.add(program)
        per_image += share(run) * cost.per_image
    left = 60 * minutes * jobs - fixed
    images = int(min(left / per_image, most)) // batch_size * batch_size
    if images < LEAST_STEPS * batch_size:
        least = (fixed + LEAST_STEPS * batch_size * per_image) / 60 / jobs
        raise UserError(_too_small(minutes, len(runs), least))
    return images


def share(run: StudyRun) -> float:
    """Return how much of a run's images a run learns from."""
    if not run.trains:
        return 0.0
    return PRUNING_SHARE if run.needs else 1.0


def set_length(config: ConfigDict, run: StudyRun, images: int, examples: int) -> None:
    """Set how long a run is, and how often it logs and evaluates.

    What a recipe has in epochs keeps its share of the run.

    Args:
      config: of the run, changed in place.
      run: which it is.
      images: of a run that learns from nothing.
      examples: of its training split.
    """
    steps = max(1, round(share(run) * images / config.batch_size))
    epochs = steps * config.batch_size / examples
    factor = epochs / config.epochs
    config.steps, config.epochs = steps, epochs
    for key in IN_EPOCHS:
        config.schedule[key] *= factor
    config.schedule.milestones = tuple(
        factor * milestone for milestone in config.schedule.milestones
    )
    every = -(-steps // EVALUATIONS) * epochs / steps
    config.evaluate_every_epochs = config.checkpoint.every_epochs = every
    config.log_every_steps = max(1, steps // LOG_ROWS)
    config.figures = False


def read_costs(
    runs: Sequence[StudyRun], root: pathlib.Path, batch_size: int
) -> dict[str, Cost]:
    """Read what the short runs cost, by variant; each was done with two seeds."""
    costs = {}
    for variant in dict.fromkeys(run.variant for run in runs):
        first, again = sorted(
            (run for run in runs if run.variant == variant), key=lambda run: run.seed
        )[:2]
        step = _step_seconds(again.workdir(root))
        learning = round(share(again) * CALIBRATION_STEPS) * step
        seconds = [
            storage.read_json(run.workdir(root) / runner.SECONDS)["seconds"] - learning
            for run in (first, again)
        ]
        costs[variant] = Cost(step / batch_size, max(seconds), max(seconds[1], 0.0))
    return costs


def _step_seconds(workdir: pathlib.Path) -> float:
    """Return the median seconds of a run's steps, 0 of one that took none."""
    path = workdir / PERFORMANCE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [row for row in map(json.loads, lines) if row.get("time/per_step")]
    return statistics.median(row["time/per_step"] for row in rows) if rows else 0.0


def _too_small(minutes: float, runs: int, least: float) -> str:
    return (
        f"--budget {minutes:g} is too small: {runs} runs take {least:.1f} minutes here "
        "even if each learns from next to nothing; give more, or fewer --seeds"
    )
