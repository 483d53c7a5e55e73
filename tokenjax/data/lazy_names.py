"""Names of a split's examples that are found when they are asked for."""

import abc
from collections.abc import Sequence
from typing import overload


class LazyNames(Sequence[str], abc.ABC):
    """A sequence of names, of which `find` finds one and `__len__` counts all."""

    @abc.abstractmethod
    def find(self, index: int) -> str:
        """Return the name at an index from 0."""

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """Return a name, or a list of some.

        Raises: IndexError.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.find(range(len(self))[index])
