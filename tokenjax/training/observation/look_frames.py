"""Small pictures of what the model looks at, over the run.

    workdir/looks/step_00000100.png   one at every evaluation, and one before step 1
    workdir/looks/looks.gif           all of them, once the run is complete

and under "looks" in TensorBoard. The examples are the same over the run. A run of more
than MOST_FRAMES evaluations is drawn at every second, every third of them, so that
neither the disk nor the time that it takes grows with it. Nothing here alters a number
of the run: what is drawn is computed once more, by a program of its own.
"""

import math
import pathlib
import re

import jax
import numpy as np
from flax.typing import VariableDict

from tokenjax.errors import first_line
from tokenjax.plots import frames
from tokenjax.training.observation.metric_log import MetricLog
from tokenjax.training.observation.progress import warn
from tokenjax.training.tasks.task import Watch

FOLDER, ANIMATION = "looks", "looks.gif"
MOST_FRAMES = 100
_NAME = re.compile(r"step_(\d{8,})\.png")


class LookFrames:
    """The frames of one start of a run.

    Args:
      watch: what is drawn; None: nothing is.
      log: of the run, see `send`.
      first: the step where the run stands: later frames are dropped, for they are
        drawn again.
      total: its steps.
      every: how many steps are between evaluations.
    """

    def __init__(
        self, watch: Watch | None, log: MetricLog, first: int, total: int, every: int
    ):
        self._watch, self._log = watch, log
        self._directory = log.workdir / FOLDER
        self._total, self._every = total, every
        evaluations = math.ceil(total / every)
        self._apart = math.ceil(evaluations / MOST_FRAMES)  # of them, between frames
        self._writes = jax.process_index() == 0
        self._refused = False  # by the disk, once
        self._unsent: list[tuple[int, np.ndarray]] = []
        if not self._writes:
            return
        for step, path in find_frames(log.workdir).items():
            if step > first:
                path.unlink(missing_ok=True)

    def start(self, step: int, variables: VariableDict) -> None:
        """Compile, and draw a run that has not begun."""
        if self._watch is not None:
            self._draw(step, variables, shown=step == 0)

    def draw(self, step: int, variables: VariableDict) -> None:
        """Draw the looks of an evaluation, if it is one of those drawn."""
        due = step == self._total or step // self._every % self._apart == 0
        if self._watch is not None and due:
            self._draw(step, variables, shown=True)
        for at, frame in self._unsent:
            self._log.write_images(at, {"looks": frame[None]})
        self._unsent = []

    def _draw(self, step: int, variables: VariableDict, shown: bool) -> None:
        assert self._watch is not None
        looks = self._watch.look(variables)  # of every process
        if not self._writes or not shown:
            return
        rows, captions, right = self._watch.draw(looks)
        heading = f"step {step:,} of {self._total:,}"
        frame = frames.compose(rows, heading, captions, right)
        self._unsent.append((step, frame))
        if self._refused:
            return
        try:
            frames.write(frame, self._directory / f"step_{step:08}.png")
        except OSError as error:  # what is learned is worth more than its pictures
            self._refused = True
            warn(f"no frames from step {step} on in {self._directory}: {error}")


def find_frames(workdir: pathlib.Path) -> dict[int, pathlib.Path]:
    """Return the frames of a run by their steps, in order."""
    found = {}
    for path in (workdir / FOLDER).glob("step_*.png"):
        if match := _NAME.fullmatch(path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def animate_run(workdir: pathlib.Path) -> None:
    """Make the GIF of all frames that a run has, if there are any."""
    paths = list(find_frames(workdir).values())
    if not paths:
        return
    try:
        frames.animate(paths, workdir / FOLDER / ANIMATION)
    except OSError as error:  # a frame that cannot be read, a full disk
        warn(f"no {ANIMATION} in {workdir / FOLDER}: {first_line(error)}")
