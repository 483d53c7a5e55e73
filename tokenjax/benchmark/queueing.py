"""Seconds of a call among several in a queue: the device's time, without Python's.

    t = (time from starting the first of k calls to the end of the last) / k

A call that is waited for takes as long as its user waits: Python, the runtime, the way
to the device and back. Of calls that are started one after another and waited for once,
all that is hidden behind the device's work, unless starting a call takes longer than
the call; then that is what the queue's figure shows. Groups take `GROUP_SECONDS`, so
that the one wait weighs nothing, or what the time allows. A call that takes so long by
itself is not queued: the wait is nothing beside it.

On a CPU nothing is queued unless asked for: there Python and the program share the
cores, and XLA runs small calls of a queue at once.
"""

import collections
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from tokenjax.benchmark.latency import FEWEST_REPEATS, Latency, Timing, summarize

GROUP_SECONDS = 0.08
MOST_CALLS = 5000  # of a group
GROUPS = 5  # a group for so many of `Timing.repeats`

Inputs = Sequence[Sequence[object]]  # arguments, taken in turn
Wait = Callable[[Sequence[object]], object]  # for all that a queue returned


class Queued(NamedTuple):
    """Seconds of a call in each group (groups,), and the calls of a group."""

    seconds: np.ndarray
    calls: int


def summary(queued: Queued | None) -> Latency | None:
    """Return statistics of the groups, None of none."""
    return summarize(queued.seconds, calls=queued.calls) if queued else None


def wanted(timing: Timing) -> bool:
    """Return whether calls are to be queued: as it says, else on accelerators alone."""
    if timing.queue is not None:
        return timing.queue
    return jax.default_backend() != "cpu"


def wait(outputs: Sequence[object]) -> None:
    """Wait for what calls returned, but for what a later call has overwritten."""
    leaves = jax.tree.leaves(outputs)
    jax.block_until_ready(
        [x for x in leaves if not (isinstance(x, jax.Array) and x.is_deleted())]
    )


def time_queued(
    function: Callable[..., object], inputs: Inputs, timing: Timing, seconds: float
) -> Queued | None:
    """Time groups of calls of a warm function; None where nothing is to be queued.

    `seconds` are those of a call that is waited for, about.
    """
    if not wanted(timing):
        return None
    calls = calls_for([seconds], timing)
    if calls == 1:
        return None
    calls = calls_for([time_group(function, wait, inputs, calls)], timing)
    if calls == 1:
        return None
    groups: list[float] = []
    stop = time.perf_counter() + timing.max_seconds
    while more_groups(len(groups), timing, stop):
        groups.append(time_group(function, wait, inputs, calls))
    return Queued(np.array(groups), calls)


def calls_for(seconds: Sequence[float] | np.ndarray, timing: Timing) -> int:
    """Return how many calls make a group, of functions that take so many seconds.

    As many of each, so that a group of the fastest is long enough; fewer where the time
    would not do for the fewest groups of all.
    """
    enough = math.ceil(GROUP_SECONDS / min(seconds))
    affordable = timing.max_seconds / ((FEWEST_REPEATS + 1) * sum(seconds))
    return int(max(min(enough, affordable, MOST_CALLS), 1))


def more_groups(made: int, timing: Timing, stop: float) -> bool:
    """Return whether to go on after so many groups; `stop` is when the time is up."""
    if made < FEWEST_REPEATS:
        return True
    return made < timing.repeats / GROUPS and time.perf_counter() < stop


def time_group(
    queue: Callable[..., object], wait: Wait, inputs: Inputs, calls: int
) -> float:
    """Return the seconds of one of so many calls, queued and waited for once.

    An accelerator runs them in order, so that the last is waited for and the outputs of
    the others need no memory; a CPU may not.
    """
    in_order = jax.default_backend() != "cpu"
    kept: collections.deque[object] = collections.deque(maxlen=1 if in_order else None)
    start = time.perf_counter()
    for index in range(calls):
        kept.append(queue(*inputs[index % len(inputs)]))
    wait(list(kept))  # a deque is no tree to jax
    return (time.perf_counter() - start) / calls
