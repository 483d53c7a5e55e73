"""Whether two groups of runs differ by more than their seeds do.

    apart       means of two groups        Welch's t-test
    paired      the same seeds twice       Student's t-test of the differences

A difference is one where p < 0.05; of a single run nothing is known.
"""

import dataclasses

import numpy as np
from scipy import stats

LEVEL = 0.05


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
    if np.ptp(one) == 0 and np.ptp(other) == 0:
        return Difference(mean, 1.0 if mean == 0 else 0.0)
    return Difference(mean, float(stats.ttest_ind(one, other, equal_var=False).pvalue))


def paired(differences: np.ndarray) -> Difference:
    """Test differences (n,) of pairs against 0."""
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return Difference(mean, None)
    if np.ptp(differences) == 0:
        return Difference(mean, 1.0 if mean == 0 else 0.0)
    return Difference(mean, float(stats.ttest_1samp(differences, 0.0).pvalue))
