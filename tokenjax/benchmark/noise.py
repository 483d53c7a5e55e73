"""Whether one run's times differ from another's by more than the noise of both.

    ratio      median of now over median of then
    interval   95 % of it, by resampling blocks of successive calls: a busy moment slows
               several in a row, which drawn one by one would look independent
    machine    what plain programs take, now over then: 95 % of what their times all
               over the two runs allow, of the one that differs the most (`reference`)
    fastest    least of now over least of then: what else a machine does only adds time

A row is slower if its interval lies above max(1, machine) by more than `LEAST` and its
fastest calls are slower by more than `LEAST` too; faster likewise. All else is noise,
however large the ratio.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

LEAST = 0.05
RESAMPLES = 2000
FEWEST_CALLS = 5  # whose blocks are resampled

Json = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How a row's median has changed since another run.

    Attributes:
      ratio: of the medians, now over then; `low` and `high` its interval, 0 and
        infinity where a run has a single call.
      machine: what the machine itself may have become slower by, least and most.
      fastest: the ratio of the fastest calls.
    """

    ratio: float
    low: float
    high: float
    machine: tuple[float, float]
    fastest: float

    @property
    def changed(self) -> bool:
        """Return whether the row is slower or faster by more than the noise."""
        least, most = min(1.0, self.machine[0]), max(1.0, self.machine[1])
        slower = self.low > most * (1 + LEAST) and self.fastest > 1 + LEAST
        faster = self.high < least / (1 + LEAST) and self.fastest < 1 / (1 + LEAST)
        return slower or faster

    def __str__(self) -> str:
        """Say the ratio and how sure that is."""
        if not math.isfinite(self.high):
            return f"{self.ratio:.2f} times, from a single call"
        return f"{self.ratio:.2f} times, 95 %: {self.low:.2f} to {self.high:.2f}"


def compare(
    now: Json,
    then: Json,
    reference_now: Mapping[str, Sequence[float]] = MappingProxyType({}),
    reference_then: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> Comparison:
    """Compare two latencies, as `report.write` writes them.

    `reference_now` and `reference_then` are times of the same plain programs, all over
    the one run and the other; without some the machine counts as equally fast.
    """
    low, high = _interval(now, then)
    ends = [
        _ratios_within(
            np.asarray(reference_now[name]), np.asarray(reference_then[name])
        )
        for name in reference_now
        if name in reference_then
    ]
    least, most = zip(*ends, strict=True) if ends else ((1.0,), (1.0,))
    return Comparison(
        ratio=now["median"] / then["median"],
        low=low,
        high=high,
        machine=(min(least), max(most)),
        fastest=now["minimum"] / then["minimum"],
    )


def _ratios_within(now: np.ndarray, then: np.ndarray) -> tuple[float, float]:
    """Return the ends of 95 % of the ratios of any moment now to any then."""
    low, high = np.percentile(now[:, None] / then, [2.5, 97.5])
    return float(low), float(high)


def _interval(now: Json, then: Json) -> tuple[float, float]:
    """Return the interval of the ratio; by those of the medians without the calls."""
    calls = [np.array(each.get("seconds") or ()) for each in (now, then)]
    if min(map(len, calls)) >= FEWEST_CALLS:
        medians = [resampled_medians(each, seed) for seed, each in enumerate(calls)]
        low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
        return float(low), float(high)
    ends = [each.get(end) for each in (now, then) for end in ("low", "high")]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return 0.0, math.inf
    return known[0] / known[3], known[1] / known[2]


def resampled_medians(seconds: np.ndarray, seed: int) -> np.ndarray:
    """Return medians (RESAMPLES,) of as many calls, drawn in blocks of successive ones.

    A block of n calls has about sqrt(n), and goes on at the beginning.
    """
    count = len(seconds)
    length = math.ceil(count**0.5)
    starts = np.random.default_rng(seed).integers(
        0, count, (RESAMPLES, math.ceil(count / length))
    )
    places = (starts[:, :, None] + np.arange(length)) % count
    drawn = places.reshape(RESAMPLES, -1)[:, :count]
    return np.median(seconds[drawn], axis=1)
