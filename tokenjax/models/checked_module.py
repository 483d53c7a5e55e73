"""Modules that refuse arguments which do not fit, however they are constructed.

What an argument must be alone stands in its annotation (`tokenjax.arguments`), what
arguments must be to each other in `problems`.
"""

from typing import Any

import flax.linen as nn

from tokenjax.arguments import describe
from tokenjax.errors import UserError


class CheckedModule(nn.Module):
    """A Flax module whose arguments are checked when it is made.

    Raises: UserError for the first that does not fit, by name.
    """

    def __post_init__(self) -> None:
        check_fields(self)
        super().__post_init__()
        for wrong, sentence in self.problems():
            if wrong:
                raise UserError(f"{type(self).__name__}: {sentence}")

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return []


def check_fields(module: nn.Module) -> None:
    """Check every argument that is not the default; a list becomes a tuple.

    Flax makes a module again whenever it binds it, so what is the default costs no more
    than a comparison.

    Raises: UserError for the first that does not fit.
    """
    for name, argument in describe(type(module)).items():
        value = getattr(module, name)
        if value is argument.default or _equal(value, argument.default):
            continue
        fitted = argument.check(value, f"{type(module).__name__}: {name}")
        if fitted is not value:
            object.__setattr__(module, name, fitted)


def _equal(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
