"""How far computed arrays are from recorded ones: ||a - b|| / ||b||, by kind."""

import math
from collections.abc import Collection, Mapping

import numpy as np
from jax.typing import ArrayLike

OUTPUT, GRADIENT = "outputs", "gradients"
TOLERANCES = {OUTPUT: 1e-5, GRADIENT: 1e-4}  # those of the tests
VANISHES = 1e-4  # of the largest gradient: rounding of what is zero in exact arithmetic


class Held:
    """Takes in pairs of arrays.

    Attributes:
      largest: the largest error of each kind, and of what.
      problems: sentences on what is too far off.
    """

    def __init__(self) -> None:
        self.largest: dict[str, tuple[float, str]] = {}
        self.problems: list[str] = []

    def close(
        self, actual: ArrayLike, expected: ArrayLike, kind: str, name: str
    ) -> None:
        """Hold an array to a recorded one, by the tolerance of its kind."""
        found = np.asarray(actual, np.float64)
        wanted = np.asarray(expected, np.float64)
        if found.shape != wanted.shape:
            self.problems.append(f"{name}: shape {found.shape}, not {wanted.shape}")
            return
        scale = max(float(np.linalg.norm(wanted)), 1e-30)
        error = float(np.linalg.norm(found - wanted)) / scale
        if not error <= self.largest.get(kind, (-1.0, ""))[0]:
            self.largest[kind] = (error, name)
        if not error <= TOLERANCES[kind]:
            self.problems.append(
                f"{name}: relative error {error:.2e} > {TOLERANCES[kind]:.0e}"
            )

    def equal(self, actual: ArrayLike, expected: ArrayLike, name: str) -> None:
        """Hold whole numbers to recorded ones."""
        if not np.array_equal(np.asarray(actual), np.asarray(expected)):
            self.problems.append(f"{name}: other than recorded")

    def small(self, actual: ArrayLike, most: float, name: str) -> None:
        """Hold an array's largest entry below a bound."""
        size = float(np.abs(np.asarray(actual)).max(initial=0.0))
        if not size <= most:
            self.problems.append(f"{name}: {size:.1e} where rounding allows {most:.1e}")

    def gradients(
        self,
        found: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray],
        without: Collection[str] = (),
        vanishing: Collection[str] = (),
    ) -> None:
        """Hold gradients by key; those `without` are 0, those `vanishing` nearly."""
        if not set(expected) <= set(found):
            missing = sorted(set(expected) - set(found))
            self.problems.append(f"no gradients of {', '.join(missing)}")
            return
        largest = max(float(np.abs(each).max()) for each in expected.values())
        for key, gradient in expected.items():
            if key in vanishing:
                self.small(found[key], VANISHES * largest, key)
            elif key not in without:
                self.close(found[key], gradient, GRADIENT, key)
        for key in set(without) & set(found):
            self.small(found[key], 0.0, key)

    def errors(self) -> dict[str, float | None]:
        """Return the largest error of each kind, for JSON."""
        return {
            kind: error if math.isfinite(error) else None
            for kind, (error, _) in self.largest.items()
        }
