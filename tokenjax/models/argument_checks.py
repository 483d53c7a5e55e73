"""Types and sizes of constructor arguments, before a model is built from them.

A network of 0 heads or of -1 blocks would otherwise end in a ZeroDivisionError or an
empty loop, wherever it first meets its size. What arguments must be to each other, the
models check themselves.
"""

import math
import numbers
import types
import typing
from typing import Any

import jax.numpy as jnp

from tokenjax.errors import UserError

LARGEST = 2**20  # of any size or count
_NUMBERS: dict[Any, type] = {int: numbers.Integral, float: numbers.Real}


def check_arguments(name: str, model_class: type, arguments: dict[str, Any]) -> None:
    """Raises: UserError for a value of another type than is declared, or out of range.

    Args:
      name: of the model.
      model_class: a Flax module, whose fields are declared with types.
      arguments: known to be names of fields.
    """
    hints = typing.get_type_hints(model_class)
    for key, value in arguments.items():
        hint = hints[key]
        if key == "dtype":
            _check_dtype(name, value)
        elif not _fits(value, hint):
            raise UserError(f"{name}: {key} must be {_told(hint)}, got {value!r}")
        default = getattr(model_class, key, None)
        # An MLP may have no hidden layer; anything else of 0 is no network.
        optional = key.endswith("_layers")
        least = 1 if _smallest_count(default) >= 1 and not optional else 0
        for number in _numbers(value):
            if not math.isfinite(number):
                raise UserError(f"{name}: {key} must be finite, got {value!r}")
            counts = isinstance(number, numbers.Integral)
            if counts and not least <= number <= LARGEST:
                raise UserError(
                    f"{name}: {key} must be at least {least} and at most {LARGEST}, "
                    f"got {value!r}"
                )


def _check_dtype(name: str, value: Any) -> None:
    try:
        floating = jnp.issubdtype(jnp.dtype(value), jnp.floating)
    except TypeError:
        floating = False
    if not floating:
        raise UserError(f"{name}: dtype must be a floating type, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a declared type; a list passes for a tuple (JSON's)."""
    if hint is Any:
        return True
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        if inner[-1] is Ellipsis:
            return all(_fits(item, inner[0]) for item in value)
        pairs = zip(value, inner, strict=False)
        return len(value) == len(inner) and all(_fits(*pair) for pair in pairs)
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint in _NUMBERS:  # numpy's count as well
        return isinstance(value, _NUMBERS[hint])
    return isinstance(value, origin or hint)


def _told(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _numbers(value: Any) -> list[Any]:
    """Of a number or a sequence of them; a truth value is none."""
    items = value if isinstance(value, tuple | list) else [value]
    return [
        item
        for item in items
        if isinstance(item, numbers.Real) and not isinstance(item, bool)
    ]


def _smallest_count(default: Any) -> int:
    """0 unless it is whole numbers: a weight or temperature of 2.0 may well be 0."""
    found = _numbers(default)
    whole = all(isinstance(number, int) for number in found)
    return min(found, default=0) if whole else 0
