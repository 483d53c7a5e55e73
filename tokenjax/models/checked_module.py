"""Modules that refuse arguments which do not fit, however they are constructed.

What an argument must be alone stands in its annotation (`tokenjax.arguments`), what
arguments must be to each other in `problems`.
"""

from typing import Any

import flax.linen as nn

from tokenjax.arguments import REQUIRED, describe
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


def check_class(kind: str, name: str, module_class: type[nn.Module]) -> None:
    """Check that a class to be registered is a Flax module, its fields typed.

    Raises: UserError if it is none, or a field has no default or one that does not fit.
    """
    if not (isinstance(module_class, type) and issubclass(module_class, nn.Module)):
        raise UserError(
            f"{kind} {name!r} must be a class derived from flax.linen.Module, "
            f"got {module_class!r}"
        )
    try:
        described = describe(module_class)
    except (NameError, TypeError) as error:  # an annotation that names nothing
        raise UserError(
            f"{kind} {name!r}: the annotations of {module_class.__name__} cannot be "
            f"read: {error}"
        ) from error
    for key, argument in described.items():
        if argument.default is REQUIRED:
            raise UserError(
                f"{kind} {name!r}: field {key} of {module_class.__name__} needs a "
                f"default, so that the {kind} can be built by its name alone"
            )
        argument.check(argument.default, f"{kind} {name!r}: the default of {key}")


def _equal(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
