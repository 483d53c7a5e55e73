"""A trace of some steps, for TensorBoard's profile plugin and for Perfetto.

    workdir/profile/plugins/profile/<time>/<host>.xplane.pb           TensorBoard
    workdir/profile/plugins/profile/<time>/perfetto_trace.json.gz     ui.perfetto.dev

JAX's own profiler writes it; TensorFlow is not needed. Tracing never ends a run: what
goes wrong is said, and training goes on.
"""

import pathlib
from collections.abc import Callable

import jax

from tokenjax.errors import first_line
from tokenjax.training.state import Scalars

FOLDER = "profile"


class Profile:
    """The trace of steps `first` to `last`, in the first process alone.

    Args:
      workdir: of the run.
      first, last: steps to trace, both included; None: no trace.
      say, warn: take a sentence.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        steps: tuple[int, int] | None,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ):
        self._directory = workdir / FOLDER
        self._steps = steps if jax.process_index() == 0 else None
        self._say, self._warn = say, warn
        self._running = False

    def before(self, step: int, outputs: Scalars | None) -> None:
        """Start with the first step; `outputs` of the one before are waited for."""
        if self._steps is None or step != self._steps[0]:
            return
        jax.block_until_ready(outputs)
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # every call of Python drowns the rest
        try:  # a trace that has begun cannot be ended without its directory
            self._directory.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(
                self._directory, create_perfetto_trace=True, profiler_options=options
            )
            self._running = True
        except Exception as error:  # whatever the machine's profiler has against it
            self._fail(error)

    def after(self, step: int, outputs: Scalars | None) -> None:
        """Write the trace after the last step, once the devices have done it."""
        if self._running and self._steps and step == self._steps[1]:
            jax.block_until_ready(outputs)
            self._stop(step)

    def close(self, step: int) -> None:
        """Write what there is of a trace that the end of the steps cut short."""
        if self._running:
            self._stop(step)
        elif self._steps is not None and step < self._steps[0]:
            self._warn(
                f"no trace was written: it was to begin with step {self._steps[0]}, "
                f"and step {step} was the last; lower observation.profile_after"
            )

    def _stop(self, step: int) -> None:
        assert self._steps is not None
        self._running = False
        try:
            jax.profiler.stop_trace()
            trace = newest_trace(self._directory)
        except Exception as error:  # a full disk, say
            self._fail(error)
            return
        self._say(
            f"trace of steps {self._steps[0]} to {step}: open {trace} at "
            f"https://ui.perfetto.dev, or `pip install xprof` and "
            f"`tensorboard --logdir {self._directory}`"
        )

    def _fail(self, error: Exception) -> None:
        self._steps = None
        self._warn(f"no trace: {first_line(error)}; training goes on without")


def newest_trace(directory: pathlib.Path) -> pathlib.Path:
    """Return the file for Perfetto below workdir/profile.

    Raises: FileNotFoundError if there is none.
    """
    found = list(directory.glob("plugins/profile/*/perfetto_trace.json.gz"))
    if not found:
        raise FileNotFoundError(f"the profiler wrote nothing below {directory}")
    return max(found, key=lambda path: path.stat().st_mtime)
