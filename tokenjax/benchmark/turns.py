"""Functions timed in turns: A B C A B C ..., and each compared with the first.

What else the machine does then hits all alike. A ratio is the median over the rounds of
the ratios within a round, which a busy moment moves less than a ratio of medians.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from tokenjax.benchmark import latency

Label = str | float


class Contestant(NamedTuple):
    """What takes part.

    Attributes:
      name: what it is.
      flops: of one image, 2 per multiply-add.
      function: compiled.
      calls: one or more tuples of arguments for it, taken in turn.
      labels: what else there is to say of it, by name; nothing here reads them.
    """

    name: str
    flops: float
    function: Callable[..., object]
    calls: Sequence[tuple[object, ...]]
    labels: Mapping[str, Label] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a contestant took.

    Attributes:
      comparison: what it took part in.
      name, flops, labels: the contestant's.
      batch_size: images per call.
      latency: seconds of one call.
      ratio: of its time to that of the first contestant.
      ideal: the same of FLOPs.
    """

    comparison: str
    name: str
    flops: float
    labels: Mapping[str, Label]
    batch_size: int
    latency: latency.Latency
    ratio: float
    ideal: float

    @property
    def images_per_second(self) -> float:
        """Return the batch size over the median latency."""
        return self.batch_size / self.latency.median


def compare(
    comparison: str,
    contestants: Sequence[Contestant],
    batch_size: int,
    timing: latency.Timing,
) -> list[Cost]:
    """Time the contestants as `time_in_turns` does, compilation excluded."""
    seconds = time_in_turns(contestants, timing)  # (rounds, contestants)
    ratios = np.median(seconds / seconds[:, :1], axis=0)
    return [
        Cost(
            comparison=comparison,
            name=contestant.name,
            flops=contestant.flops,
            labels=contestant.labels,
            batch_size=batch_size,
            latency=latency.summarize(seconds[:, index]),
            ratio=float(ratios[index]),
            ideal=contestant.flops / contestants[0].flops,
        )
        for index, contestant in enumerate(contestants)
    ]


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
