"""What a run says of its own running; the loop tells it what it is about to do.

Where the time goes (`step_time`), whether the data keeps up (`input_watch`), memory
(`memory_use`), compilations (`recompilation`), and a trace (`profiling`). Nothing here
alters a number of the run, and a step waits for nothing that it did not wait for.
"""

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from tokenjax import jax_events
from tokenjax.training.observation.input_watch import InputWatch
from tokenjax.training.observation.memory_use import memory_scalars
from tokenjax.training.observation.profiling import Profile
from tokenjax.training.observation.progress import say, warn
from tokenjax.training.observation.recompilation import Compilations
from tokenjax.training.observation.step_time import StepTime, as_scalars
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch, Scalars

TRAINING, EVALUATION = "training step", "evaluation"  # warned of when compiled again


class Observer:
    """Of the steps of a run after `first`; close it.

    Attributes:
      input_share: of the time in the last row, what the devices waited for batches.
      images_per_second: likewise; None where no step was taken.
    """

    def __init__(self, settings: Settings, workdir: pathlib.Path, first: int):
        own = settings.observation
        begin = first + own.profile_after + 1
        traced = (begin, begin + own.profile_steps - 1) if settings.profile else None
        self._step = first
        self._outputs: Scalars | None = None
        self.input_share = 0.0
        self.images_per_second: float | None = None
        self._batch_size = settings.batch_size
        self._time = StepTime()
        self._input = InputWatch(
            str(settings.data.get("source")),
            own.input_wait_warning,
            own.stalled_seconds,
            warn,
        )
        self._compilations = Compilations(warn)
        self._profile = Profile(workdir, traced, say, warn)

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Watch the asking for a batch and dispatching the step that takes it."""
        self._profile.before(step, self._outputs)
        with (
            jax.profiler.StepTraceAnnotation("train", step_num=step),
            self._compilations.during(TRAINING, step),
        ):
            self._step = step
            yield

    def next_batch(self, batches: Iterator[Batch]) -> Batch:
        """Return the next of the batches, and measure the wait for it."""
        self._input.waiting(self._step)
        try:
            with self._time.waiting(), jax.profiler.TraceAnnotation("input_wait"):
                return next(batches)
        finally:
            self._input.delivered()

    def dispatched(self, outputs: Scalars) -> None:
        """Note that the step is on its way; `outputs` it makes and does not donate."""
        self._outputs = outputs
        self._time.dispatched(outputs)
        with self._time.busy("logging"):
            self._profile.after(self._step, outputs)

    def first_step(self) -> None:
        """Start the clock: what came before was compilation."""
        self._time.start()
        jax_events.tell_result()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part: "logging", "evaluation" or "checkpoint"."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(jax.profiler.TraceAnnotation(name))
            if name == EVALUATION:  # what else is compiled is not of the user's shapes
                stack.enter_context(self._compilations.during(name, self._step))
            stack.enter_context(self._time.busy(name))
            yield

    def row(self) -> dict[str, float]:
        """Return scalars of the time since the last row; the devices have done all."""
        steps, seconds = self._time.split()
        training = sum(seconds.values()) - seconds["evaluation"]
        waited = seconds["input_wait"]
        self.input_share = waited / training if steps and training else 0.0
        if steps:
            self._input.judge(self._step, waited, training)
        timing = as_scalars(steps, seconds)
        self.images_per_second = None
        if timing:
            self.images_per_second = self._batch_size / timing["time/per_step"]
            timing["speed/images_per_second"] = self.images_per_second
        return timing | memory_scalars() | self._compilations.scalars()

    def close(self) -> None:
        """End the trace and the threads, and listen no more."""
        self._profile.close(self._step)
        self._compilations.close()
        self._input.close()
        self._time.close()
