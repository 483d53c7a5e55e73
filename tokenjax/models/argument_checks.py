"""Types and sizes of constructor arguments, before a model is built from them.

A network of 0 heads or of -1 blocks would otherwise end in a ZeroDivisionError or an
empty loop, wherever it first meets its size. What arguments must be to each other, the
models check themselves.
"""

import math
import types
import typing
from typing import Any

import jax.numpy as jnp

from tokenjax.errors import UserError

LARGEST = 2**20  # of any size or count


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
        least = 1 if _smallest(default) >= 1 else 0
        for number in _numbers(value):
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{name}: {key} must be finite, got {value!r}")
            if isinstance(number, int) and not least <= number <= LARGEST:
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
    return isinstance(value, (int, float) if hint is float else origin or hint)


def _told(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _numbers(value: Any) -> list[int | float]:
    """Of a number or a sequence of them; a truth value is none."""
    items = value if isinstance(value, tuple | list) else [value]
    return [
        item
        for item in items
        if isinstance(item, int | float) and not isinstance(item, bool)
    ]


def _smallest(default: Any) -> float:
    return min(_numbers(default), default=0)
