"""For any argument a value that it takes and that is not its default."""

import typing
from typing import Any, Literal

from tokenjax.errors import UserError

WRITTEN = {"reduction": ["tome:r=1"]}  # what may be given in several ways


def find_other_value(argument) -> Any:
    """Return a value that fits the argument and is another than its default."""
    for value in list_other_values(argument):
        return value
    raise AssertionError(f"no other value of {argument}")


def list_other_values(argument):
    """Yield values that fit the argument and are others than its default."""
    for value in _candidates(argument):
        try:
            fitted = argument.check(value, argument.name)
        except UserError:
            continue
        if fitted != argument.default:
            yield fitted


def _candidates(argument):
    if argument.floating:
        return ["bfloat16", "float16"]
    if argument.names is not None:
        return argument.names.names()
    if argument.written is not None:
        return WRITTEN[argument.name]
    return [*_around(argument.default), *_of_type(argument.type)]


def _around(default):
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int | float):
        half = default / 2 if isinstance(default, float) else 2
        return [default + 1, half, 2 * default]
    if isinstance(default, tuple) and default:
        first = [*_around(default[0]), *default]
        return [(value, *default[1:]) for value in first] + [default[1:], default[:1]]
    return []


def _of_type(hint):
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return list(inner)
    if origin is tuple:
        several = len(inner) == 2 and inner[1] is Ellipsis
        parts = [_of_type(each) for each in inner if each is not Ellipsis]
        return [tuple(part[index] for part in parts) for index in range(1 + several)]
    if inner:  # a union
        return [value for each in inner for value in _of_type(each)]
    known = {
        int: [3, 1],
        float: [0.25, 0.5],
        str: ["other", "text"],
        bool: [True, False],
    }
    return known.get(hint, [])
