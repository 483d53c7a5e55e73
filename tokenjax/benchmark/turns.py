"""Functions timed in turns: A B C A B C ..., and each compared with the first.

What else the machine does then hits all alike. A ratio is the median over the rounds of
the ratios within a round, which a busy moment moves less than a ratio of medians.

Where calls are queued too (`queueing`), a round is a group of as many calls of each,
and ratios are those of the queued: what the device takes, whoever starts its work.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from tokenjax.benchmark import latency, queueing
from tokenjax.benchmark.latency import Latency

Label = str | float


class Contestant(NamedTuple):
    """What takes part.

    Attributes:
      name: what it is.
      flops: of one image, 2 per multiply-add.
      function: compiled.
      calls: one or more tuples of arguments for it, taken in turn.
      labels: what else there is to say of it, by name; nothing here reads them.
      queue: starts a call and returns at once; None: `function` does.
      wait: for what `queue` returned.
    """

    name: str
    flops: float
    function: Callable[..., object]
    calls: Sequence[tuple[object, ...]]
    labels: Mapping[str, Label] = MappingProxyType({})
    queue: Callable[..., object] | None = None
    wait: queueing.Wait = queueing.wait


class Times(NamedTuple):
    """Seconds of calls in turns.

    Attributes:
      waited: of calls that are waited for, (rounds, contestants).
      queued: of one of several that are queued, (groups, contestants), or None.
      calls: of each contestant in a group.
    """

    waited: np.ndarray
    queued: np.ndarray | None = None
    calls: int = 1

    @property
    def best(self) -> np.ndarray:
        """Return the queued, which say more of the devices, else those waited for."""
        return self.waited if self.queued is None else self.queued

    def queued_of(self, index: int) -> queueing.Queued | None:
        """Return those of one contestant."""
        if self.queued is None:
            return None
        return queueing.Queued(self.queued[:, index], self.calls)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a contestant took.

    Attributes:
      comparison: what it took part in.
      name, flops, labels: the contestant's.
      batch_size: images per call.
      latency: seconds of one call that is waited for.
      ratio: of its time to that of the first contestant; queued where measured.
      ideal: the same of FLOPs.
      queued: seconds of one of several calls, None where none were queued.
    """

    comparison: str
    name: str
    flops: float
    labels: Mapping[str, Label]
    batch_size: int
    latency: Latency
    ratio: float
    ideal: float
    queued: Latency | None = None

    @property
    def images_per_second(self) -> float:
        """Return the batch size over the median time, queued where measured."""
        return self.batch_size / (self.queued or self.latency).median


def compare(
    comparison: str,
    contestants: Sequence[Contestant],
    batch_size: int,
    timing: latency.Timing,
) -> list[Cost]:
    """Time the contestants as `measure` does, compilation excluded."""
    times = measure(contestants, timing)
    ratios = np.median(times.best / times.best[:, :1], axis=0)
    return [
        Cost(
            comparison=comparison,
            name=contestant.name,
            flops=contestant.flops,
            labels=contestant.labels,
            batch_size=batch_size,
            latency=latency.summarize(times.waited[:, index]),
            ratio=float(ratios[index]),
            ideal=contestant.flops / contestants[0].flops,
            queued=queueing.summary(times.queued_of(index)),
        )
        for index, contestant in enumerate(contestants)
    ]


def measure(
    contestants: Sequence[Contestant], timing: latency.Timing, pause: float = 0.0
) -> Times:
    """Time calls that are waited for, and queued ones where they are wanted.

    Each have half of `max_seconds` then; see `time_in_turns`.
    """
    if not contestants or not queueing.wanted(timing):
        return Times(time_in_turns(contestants, timing, pause))
    half = dataclasses.replace(timing, max_seconds=timing.max_seconds / 2)
    waited = time_in_turns(contestants, half, pause)
    calls = queueing.calls_for(np.median(waited, axis=0), half)
    if calls == 1:
        return Times(waited)
    pilot = [_time_group(contestant, calls) for contestant in contestants]
    calls = queueing.calls_for(pilot, half)
    if calls == 1:
        return Times(waited)
    groups: list[list[float]] = []
    stop = time.perf_counter() + half.max_seconds
    while queueing.more_groups(len(groups), timing, stop):
        seconds = []
        for contestant in contestants:
            time.sleep(pause)
            seconds.append(_time_group(contestant, calls))
        groups.append(seconds)
    return Times(waited, np.array(groups), calls)


def _time_group(contestant: Contestant, calls: int) -> float:
    queue = contestant.queue or contestant.function
    return queueing.time_group(queue, contestant.wait, contestant.calls, calls)


def time_in_turns(
    contestants: Sequence[Contestant], timing: latency.Timing, pause: float = 0.0
) -> np.ndarray:
    """Return the seconds of each call, (rounds, contestants), a pause before each.

    Of `timing`, warm-ups and repeats are rounds, and `on_call` is called after each
    timed one. They stop after `max_seconds`, but not before `latency.FEWEST_REPEATS`;
    warming up stops after a quarter of it, but not before one round.
    """
    stop_warmup = time.perf_counter() + timing.max_seconds / 4
    for _ in range(timing.warmup):
        for contestant in contestants:
            jax.block_until_ready(contestant.function(*contestant.calls[0]))
        if time.perf_counter() > stop_warmup:
            break
    rounds: list[list[float]] = []
    stop = time.perf_counter() + timing.max_seconds
    while len(rounds) < timing.repeats:
        seconds = []
        for contestant in contestants:
            call = contestant.calls[len(rounds) % len(contestant.calls)]
            time.sleep(pause)
            start = time.perf_counter()
            jax.block_until_ready(contestant.function(*call))
            seconds.append(time.perf_counter() - start)
        rounds.append(seconds)
        timing.on_call()
        if time.perf_counter() > stop and len(rounds) >= latency.FEWEST_REPEATS:
            break
    return np.array(rounds)
