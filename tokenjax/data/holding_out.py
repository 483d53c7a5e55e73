"""Examples held out of a split that is too large to list the rest of.

    held_out = Subset(source, held)        held (k,) ascending
    training = Rest(source, held)          all others, in the source's order

Example i of the rest is the source's i + (how many of `held` come before it), which is
found by a search: held[j] - j of the rest come before held[j].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tokenjax.data.dataset import (
    Split,
    count_classes,
    digest,
    example_names,
    take_labels,
)
from tokenjax.data.identity import digest_arrays
from tokenjax.data.lazy_names import LazyNames
from tokenjax.data.order import draw_some


def draw_held_out(examples: int, counts: Sequence[int], seed: int) -> list[np.ndarray]:
    """Draw so many examples for each part, ascending; none is in two of them."""
    drawn = draw_some((seed,), examples, sum(counts))
    return [np.sort(part) for part in np.split(drawn, np.cumsum(counts)[:-1])]


@dataclass(frozen=True, eq=False)
class Rest:
    """What is left of a split of `num_classes` classes without `held` (k,)."""

    source: Split
    held: np.ndarray  # (k,) int64, ascending
    num_classes: int

    @cached_property
    def _before(self) -> np.ndarray:
        """Return how many of the rest come before each of `held`, (k,)."""
        return self.held - np.arange(len(self.held))

    @cached_property
    def labels(self) -> np.ndarray:
        return np.delete(self.source.labels, self.held)

    @cached_property
    def class_counts(self) -> np.ndarray:
        held = np.bincount(
            take_labels(self.source, self.held), minlength=self.num_classes
        )
        return count_classes(self.source, self.num_classes) - held

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def __len__(self) -> int:
        return len(self.source) - len(self.held)

    def in_source(self, indices: np.ndarray) -> np.ndarray:
        """Return the numbers in the source of examples `indices` (n,) of the rest."""
        places = np.asarray(indices, np.int64)
        return places + np.searchsorted(self._before, places, side="right")

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self.source.gather(self.in_source(indices))

    def example_names(self) -> Sequence[str] | None:
        names = example_names(self.source)
        return None if names is None else _RestNames(self, names)

    def digest(self) -> str:
        whole = np.frombuffer(bytes.fromhex(digest(self.source)), np.uint8)
        return digest_arrays(whole, np.asarray(self.held, np.int64), np.array(-1))


@dataclass(frozen=True)
class _RestNames(LazyNames):
    rest: Rest
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.rest)

    def find(self, index: int) -> str:
        return self.names[int(self.rest.in_source(np.array([index]))[0])]
