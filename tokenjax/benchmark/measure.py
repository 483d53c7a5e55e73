"""One row of the benchmark: what one model costs at one batch size and precision."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import models
from tokenjax.benchmark import (
    hardware,
    inputs,
    latency,
    memory,
    program,
    queueing,
)
from tokenjax.benchmark.latency import Latency
from tokenjax.errors import UserError, unknown_of_many

DTYPES = ("float32", "bfloat16", "float16")
INFERENCE, TRAINING = "inference", "training"
# A module within a model, and no model of its own.
SDTPS, SDTPS_MODEL = "sdtps", "demo"


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a reduction of tokens saves of the same model without one.

    Attributes:
      flops: share of FLOPs.
      time_ratio: its time over the other's, median over rounds in turns; `low`, `high`
        its 95 % interval, None of a single round.
      turned: share of time saved over share of FLOPs saved; None where none are.
    """

    flops: float
    time_ratio: float
    low: float | None
    high: float | None
    turned: float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement; FLOPs and latency are those of the whole batch.

    `inputs` are the shapes of the arguments, batch included; `image_size` height and
    width of the images among them, None where there are none; `device` is its kind.
    Where something went wrong, `problem` says what, and the numbers are missing.
    `reference_ms` are the milliseconds of plain programs before and after the row,
    where it is to be compared with other runs: the machine's speed (`reference`).
    `reduction` is how tokens are reduced, "" where nobody asked, and `saved` what that
    saves; None where it is compared with nothing. `queued` are the seconds of one of
    several calls (`queueing`), None where none were queued; `latency` is always that of
    a call that is waited for. `planned` are the bytes that the compiler planned.
    """

    model: str
    parameters: int | None
    batch_size: int
    inputs: str
    flops: int | None
    latency: Latency | None
    memory: memory.Memory | None
    dtype: str
    device: str
    mode: str = INFERENCE
    problem: str = ""
    image_size: tuple[int, int] | None = None
    reference_ms: Mapping[str, tuple[float, ...]] = dataclasses.field(
        default_factory=dict
    )
    reduction: str = ""
    saved: Saved | None = None
    queued: Latency | None = None
    planned: int | None = None

    @property
    def seconds(self) -> float | None:
        """Return the median seconds of a call, queued where measured."""
        timed = self.queued or self.latency
        return timed.median if timed else None

    @property
    def images_per_second(self) -> float | None:
        """Return the batch size over `seconds`."""
        return self.batch_size / self.seconds if self.seconds else None

    @property
    def utilization(self) -> float | None:
        """Return FLOPs a second over the most that the device can do, if known."""
        peak = hardware.peak_flops(self.device, self.dtype)
        if not (peak and self.flops and self.seconds):
            return None
        return self.flops / self.seconds / peak


Look = Callable[[Row, program.Program], object]  # at what was measured, afterwards


def names() -> list[str]:
    """Return every name that `build` knows."""
    return sorted([*models.names(), SDTPS])


def argument_names(name: str) -> list[str]:
    """Return the names of what `build` takes for a model.

    Raises: UserError for an unknown model.
    """
    if name not in names():
        raise UserError(unknown_of_many("model", name, names()))
    return models.argument_names(SDTPS_MODEL if name == SDTPS else name)


def build(
    name: str, model_kwargs: Mapping[str, object], dtype: str, image_size: int
) -> tuple[nn.Module, int]:
    """Build a model; also return the image size left to the inputs, 0 where it knows.

    Raises:
      UserError: an unknown model, argument or dtype.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if "dtype" in model_kwargs:
        raise UserError("dtype is given by --dtype, not as an argument of the model")
    valid = argument_names(name)
    if name == SDTPS:
        return build(SDTPS_MODEL, model_kwargs, dtype, image_size)[0].make_sdtps(), 0
    computed = getattr(jnp, dtype)
    arguments: dict[str, object] = {"dtype": computed} if "dtype" in valid else {}
    if image_size and "img_size" in valid:
        arguments["img_size"], image_size = image_size, 0
    elif image_size and "image_size" in valid:
        arguments["image_size"], image_size = (image_size, image_size), 0
    model = models.create(name, **{**arguments, **model_kwargs})
    if image_size:
        _check_image_size(model, name, image_size)
    return model, image_size


def _check_image_size(model: nn.Module, name: str, image_size: int) -> None:
    """Refuse a size of images that the model does not take.

    Raises: UserError.
    """
    example = inputs.distinct_inputs(model, 1, image_size, count=1)[0]
    try:
        jax.eval_shape(model.init, jax.random.key(0), *example)
    except ValueError as error:
        raise UserError(f"--image_size {image_size}, {name}: {error}") from error


def measure_model(
    name: str,
    model_kwargs: Mapping[str, object] | None = None,
    batch_size: int = 1,
    dtype: str = "float32",
    image_size: int = 0,
    timing: latency.Timing | None = None,
    train: bool = False,
    look: Look | None = None,
) -> Row:
    """Measure a model of `tokenjax.models` by its name.

    Args:
      name: one of `models.names()`.
      model_kwargs: constructor arguments other than `dtype`.
      batch_size: examples per call.
      dtype: computation dtype; parameters stay float32.
      image_size: height and width in pixels, 0 for the model's own. Given to the
        constructor as `img_size` where it has one, otherwise to the inputs alone.
      timing: warm-up and repeats.
      train: a whole step of the optimiser in place of inference.
      look: called with the row and its program after the timing.

    Raises:
      UserError: an unknown name or argument, or a batch too big for the device
        (`memory.OutOfMemory`).
    """
    module, image_size = build(name, model_kwargs or {}, dtype, image_size)
    return measure_module(
        module, name, batch_size, dtype, image_size, timing, train, look
    )


def measure_module(
    module: nn.Module,
    label: str,
    batch_size: int,
    dtype: str = "float32",
    image_size: int = 0,
    timing: latency.Timing | None = None,
    train: bool = False,
    look: Look | None = None,
) -> Row:
    """Measure a module that has `example_inputs(batch_size)`; see `measure_model`.

    `label` and `dtype` go into the row as they are.
    """
    device = jax.devices()[0]
    if train:
        program.check_trainable(label, module)
    with fitting(label, batch_size):
        made = prepare(module, batch_size, image_size, train)
        peak_before = memory.device_peak(device)
        seconds, queued = time_program(made, timing or latency.Timing())
    row = make_row(label, made, batch_size, dtype, train, seconds, peak_before, queued)
    if look:
        look(row, made)
    return row


def time_program(
    made: program.Program, timing: latency.Timing
) -> tuple[np.ndarray, queueing.Queued | None]:
    """Time calls that are waited for, and queued ones where they are wanted.

    Each have half of the time then.
    """
    if queueing.wanted(timing):
        timing = dataclasses.replace(timing, max_seconds=timing.max_seconds / 2)
    seconds = latency.time_calls(made.function, made.calls, timing)
    queued = queueing.time_queued(
        made.function, made.calls, timing, float(np.median(seconds))
    )
    return seconds, queued


def prepare(
    module: nn.Module,
    batch_size: int,
    image_size: int,
    train: bool,
    like: program.Program | program.Start | None = None,
) -> program.Program:
    """Compile a training step or inference for one batch.

    `like` is one of which the inputs, and the weights if they fit, are used again.
    """
    make = program.training if train else program.inference
    return make(module, batch_size, image_size, like)


def make_row(
    label: str,
    made: program.Program,
    batch_size: int,
    dtype: str,
    train: bool,
    seconds: np.ndarray,
    peak_before: int | None = None,
    queued: queueing.Queued | None = None,
) -> Row:
    """Make a row of the seconds of every timed call (repeats,)."""
    device = jax.devices()[0]
    return Row(
        model=label,
        parameters=made.parameters,
        batch_size=batch_size,
        inputs=made.inputs,
        image_size=made.image_size,
        flops=made.flops,
        latency=latency.summarize(seconds, made.compile_seconds),
        memory=memory.peak_memory(made.compiled, device, peak_before),
        dtype=dtype,
        device=device.device_kind,
        mode=TRAINING if train else INFERENCE,
        queued=queueing.summary(queued),
        planned=memory.plan(made.compiled),
    )


def failed_row(
    label: str, batch_size: int, dtype: str, train: bool, problem: str
) -> Row:
    """Make the row of what could not be measured."""
    return Row(
        model=label,
        parameters=None,
        batch_size=batch_size,
        inputs="",
        flops=None,
        latency=None,
        memory=None,
        dtype=dtype,
        device=jax.devices()[0].device_kind,
        mode=TRAINING if train else INFERENCE,
        problem=problem,
    )


@contextlib.contextmanager
def fitting(label: str, batch_size: int) -> Iterator[None]:
    """Translate a device's failure to allocate into a sentence.

    Raises: memory.OutOfMemory for a batch that does not fit.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, memory.OutOfMemory) as error:
        ours = isinstance(error, memory.OutOfMemory)
        if not ours and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise memory.OutOfMemory(
            f"{label} with batch size {batch_size} does not fit into the memory of "
            f"{jax.devices()[0].device_kind}"
            + (f" ({error})" if ours else "")
            + ": use a smaller --batch_size"
        ) from error
