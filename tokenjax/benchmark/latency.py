"""Wall-clock time of one call of a jitted function, compilation excluded.

Inputs are moved to the device once and rotated, so that no call can answer from the one
before it; every call is waited for with `jax.block_until_ready`, as its user would
(`queueing` has what a device takes for one of many). All times in seconds.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

FEWEST_REPEATS = 5  # timed calls made even when the time budget is spent


@dataclasses.dataclass(frozen=True)
class Timing:
    """How to time.

    Attributes:
      warmup: calls before the first timed one.
      repeats: timed calls.
      max_seconds: stop timing after this long, but not before FEWEST_REPEATS calls;
        warming up stops after a quarter of it, but not before one call.
      on_call: called after each call, warm-up or timed (for a progress bar).
      queue: also time calls that are queued (`queueing`); None: on accelerators.
    """

    warmup: int = 10
    repeats: int = 50
    max_seconds: float = float("inf")
    on_call: Callable[[], object] = lambda: None
    queue: bool | None = None

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.repeats < 1 or not self.max_seconds > 0:
            raise ValueError(
                "warmup must be at least 0, repeats at least 1 and max_seconds "
                f"positive, got {self.warmup}, {self.repeats}, {self.max_seconds}"
            )


@dataclasses.dataclass(frozen=True)
class Latency:
    """Seconds per call over `repeats` timed calls, and the seconds to compile.

    `low` and `high` are a 95 % confidence interval of the median, `seconds` are those
    of all calls in their order. None is what was not measured: a single call has no
    spread, and what was compiled elsewhere has no seconds to compile. Where `calls`
    were queued between two waits, `repeats` are groups, and each of the seconds is the
    mean of a group.
    """

    compile_seconds: float | None
    mean: float
    median: float
    std: float | None
    p90: float
    minimum: float
    repeats: int
    low: float | None = None
    high: float | None = None
    seconds: tuple[float, ...] = ()
    calls: int = 1


def compile_function(
    function: Callable[..., object], arguments: Sequence[object], donate: bool = False
) -> tuple[jax.stages.Compiled, float]:
    """Trace, lower and compile `function(*arguments)`; also return the seconds.

    With `donate` the function may write its outputs over its first argument.
    """
    start = time.perf_counter()
    compiled = lower_function(function, arguments, donate).compile()
    return compiled, time.perf_counter() - start


def lower_function(
    function: Callable[..., object], arguments: Sequence[object], donate: bool = False
) -> jax.stages.Lowered:
    """Trace and lower `function(*arguments)`; `donate` as in `compile_function`."""
    return jax.jit(function, donate_argnums=0 if donate else ()).lower(*arguments)


def time_calls(
    function: Callable[..., object], inputs: Sequence[Sequence[object]], timing: Timing
) -> np.ndarray:
    """Return the seconds of each timed call of a function, (repeats,) or fewer."""
    stop_warmup = time.perf_counter() + timing.max_seconds / 4
    for index in range(timing.warmup):
        jax.block_until_ready(function(*inputs[index % len(inputs)]))
        timing.on_call()
        if time.perf_counter() > stop_warmup:
            break
    seconds: list[float] = []
    stop = time.perf_counter() + timing.max_seconds
    while len(seconds) < timing.repeats:
        arguments = inputs[len(seconds) % len(inputs)]
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        end = time.perf_counter()
        seconds.append(end - start)
        timing.on_call()
        if end > stop and len(seconds) >= FEWEST_REPEATS:
            break
    return np.array(seconds)


def summarize(
    seconds: np.ndarray, compile_seconds: float | None = None, calls: int = 1
) -> Latency:
    """Return statistics of the timed calls, (repeats,); std is that of those made."""
    several = len(seconds) > 1
    low, high = median_interval(seconds) if several else (None, None)
    return Latency(
        compile_seconds=compile_seconds,
        mean=float(seconds.mean()),
        median=float(np.median(seconds)),
        std=float(seconds.std()) if several else None,
        p90=float(np.percentile(seconds, 90)),
        minimum=float(seconds.min()),
        repeats=len(seconds),
        low=low,
        high=high,
        seconds=tuple(seconds.tolist()),
        calls=calls,
    )


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Return a 95 % confidence interval of the median, by ranks: whatever the shape.

    The normal approximation of the binomial, n / 2 -+ 0.98 sqrt(n) ranks; of less than
    six values the least and the greatest.
    """
    count, ordered = len(values), np.sort(values)
    first = int(np.floor(count / 2 - 0.98 * np.sqrt(count)))
    first = min(max(first, 0), (count - 1) // 2)
    return float(ordered[first]), float(ordered[count - 1 - first])


def measure_latency(
    function: Callable[..., object],
    inputs: Sequence[Sequence[object]],
    timing: Timing | None = None,
) -> Latency:
    """Compile a function for its inputs and times it.

    Args:
      function: any function that jits; it must not donate its arguments.
      inputs: one or more argument tuples of equal shapes, taken in turn.
      timing: how often, and for how long; the defaults of `Timing` where None.

    Raises:
      ValueError: no inputs.
    """
    if not inputs:
        raise ValueError("inputs must hold at least one tuple of arguments")
    on_device = jax.block_until_ready([jax.device_put(tuple(args)) for args in inputs])
    compiled, compile_seconds = compile_function(function, on_device[0])
    seconds = time_calls(compiled, on_device, timing or Timing())
    return summarize(seconds, compile_seconds)
