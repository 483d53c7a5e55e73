"""Whether two groups of runs differ by more than their seeds do.

    apart       means of two groups        Welch's t-test
    paired      the same seeds twice       Student's t-test of the differences

A difference is one where p < 0.05; of a single run nothing is known.
"""

import dataclasses

import numpy as np
from scipy import stats

LEVEL = 0.05
ROUNDING = 1e-9  # a spread of accuracies that is none


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of means (a fraction), and its p; None where nothing is known."""

    mean: float
    p: float | None

    @property
    def known(self) -> bool:
        """Return whether the seeds tell the two apart."""
        return self.p is not None and self.p < LEVEL

    def points(self) -> str:
        """Write it in points of percent: "+0.52"."""
        return f"{100 * self.mean:+.2f}"

    def told(self) -> str:
        """Say whether it is beyond what the seeds differ by."""
        if self.p is None:
            return "of one seed, so how much of it is chance is not known"
        where = "beyond" if self.known else "within"
        return f"{where} the seeds' spread ({self.chance()})"

    def chance(self) -> str:
        """Write p, a very small one as a bound."""
        if self.p is None:
            return "p not known"
        return "p < 0.0001" if self.p < 1e-4 else f"p = {self.p:.2g}"


def apart(one: np.ndarray, other: np.ndarray) -> Difference:
    """Compare means of runs with the metric (n,) and (m,): one minus other."""
    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    mean = float(np.mean(one) - np.mean(other))
    if min(len(one), len(other)) < 2:
        return Difference(mean, None)
    if max(np.ptp(one), np.ptp(other)) < ROUNDING:
        return Difference(mean, _without_spread(mean))
    described = [
        value
        for runs in (one, other)
        for value in (np.mean(runs), np.std(runs, ddof=1), len(runs))
    ]
    found = stats.ttest_ind_from_stats(*described, equal_var=False)
    return Difference(mean, float(found.pvalue))


def paired(differences: np.ndarray) -> Difference:
    """Test differences (n,) of pairs against 0."""
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return Difference(mean, None)
    if np.ptp(differences) < ROUNDING:
        return Difference(mean, _without_spread(mean))
    return Difference(mean, float(stats.ttest_1samp(differences, 0.0).pvalue))


def _without_spread(mean: float) -> float:
    """Return the p of a difference that every seed has alike."""
    return 1.0 if abs(mean) < ROUNDING else 0.0
