"""Things by name, that anybody may add to.

    SCHEDULES = Registry("schedule")

    @SCHEDULES.register("cosine")
    def cosine(...): ...

    SCHEDULES["cosine"]; SCHEDULES.names()

A file that is run again (a configuration, a notebook's cell) may register its things
again; two different things under one name are refused.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from tokenjax.errors import UserError, unknown_of_many

Thing = TypeVar("Thing")


class Registry(Mapping[str, Thing], Generic[Thing]):
    """Things of one kind by name; `kind` is what messages call them."""

    def __init__(self, kind: str):
        self.kind = kind
        self._things: dict[str, Thing] = {}

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """Return a decorator that adds a function or class under `name`."""

        def decorate(thing: Thing) -> Thing:
            self.add(name, thing)
            return thing

        return decorate

    def add(self, name: str, thing: Thing) -> None:
        """Add a thing.

        Raises: UserError if the name is empty or another thing has it.
        """
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"a {self.kind} needs a name, got {name!r}")
        if name in self._things and not _is_same(self._things[name], thing):
            raise UserError(
                f"there is a {self.kind} {name!r} already: register yours under "
                "another name"
            )
        self._things[name] = thing

    def names(self) -> list[str]:
        """Return every name, sorted."""
        return sorted(self._things)

    def __getitem__(self, name: str) -> Thing:
        """Raises: UserError for an unknown name, with the nearest and all valid."""
        if not isinstance(name, str) or name not in self._things:
            raise UserError(unknown_of_many(self.kind, str(name), self._things))
        return self._things[name]

    def get(self, name: object, default: Any = None) -> Any:
        """Return the thing of that name, or the default."""
        return self._things.get(name, default)  # type: ignore[call-overload]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._things)


def _is_same(old: object, new: object) -> bool:
    """Return whether both are one thing, or one definition that was run twice.

    A tuple, named or not, is what its parts are.
    """
    if old is new or old == new:
        return True
    if isinstance(old, tuple) and isinstance(new, tuple) and type(old) is type(new):
        return len(old) == len(new) and all(map(_is_same, old, new))
    names = ("__module__", "__qualname__")
    known = all(hasattr(each, name) for each in (old, new) for name in names)
    return known and all(getattr(old, n) == getattr(new, n) for n in names)
