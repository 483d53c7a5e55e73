"""Random numbers by the hundred million, for what only has to look random.

A million are drawn, and repeated. Their number is a prime: in no array of another shape
do two rows of a matrix, or two images of a batch, come out the same.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

COUNT = 1_048_573  # a prime


class RandomArrays:
    """Draws float32 arrays; each begins somewhere else in what was drawn.

    Args:
      seed: of all that is drawn.
    """

    def __init__(self, seed: int):
        self._generator = np.random.default_rng(seed)
        self._drawn: dict[Hashable, np.ndarray] = {}

    def normal(self, shape: Sequence[int]) -> np.ndarray:
        """Return numbers of mean 0 and standard deviation 1."""
        return self._repeat("normal", self._generator.standard_normal, shape)

    def uniform(self, shape: Sequence[int]) -> np.ndarray:
        """Return numbers between 0 and 1."""
        return self._repeat("uniform", self._generator.random, shape)

    def truncated_normal(
        self, shape: Sequence[int], low: float, high: float
    ) -> np.ndarray:
        """Return what of normal noise lies between two bounds."""

        def draw(count: int, dtype: type) -> np.ndarray:
            inside: np.ndarray = np.empty(0, dtype)
            while len(inside) < count:
                values = self._generator.standard_normal(count, dtype)
                values = values[(values >= low) & (values <= high)]
                inside = np.concatenate([inside, values])
            return inside[:count]

        return self._repeat((float(low), float(high)), draw, shape)

    def _repeat(
        self, kind: Hashable, draw: Callable[..., np.ndarray], shape: Sequence[int]
    ) -> np.ndarray:
        if kind not in self._drawn:
            self._drawn[kind] = draw(COUNT, np.float32)
        start = int(self._generator.integers(COUNT))
        return np.resize(np.roll(self._drawn[kind], -start), shape)
