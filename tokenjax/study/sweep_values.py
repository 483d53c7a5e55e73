"""What `--sweep` varies: an argument of the model, and its values.

threshold=0.1:0.9:9      nine values from 0.1 to 0.9, evenly
budget=0.125,0.25,0.5    these
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tokenjax import at_inference, models
from tokenjax.arguments import Argument
from tokenjax.errors import UserError, unknown_name
from tokenjax.models import contract

MOST_VALUES = 100  # each is an evaluation of the whole split
DIGITS = 10  # of evenly spaced values: 0.3, not 0.30000000000000004
FORM = "it is NAME=FIRST:LAST:COUNT or NAME=VALUE,VALUE,..."


class Sweep(NamedTuple):
    """An argument's name, and its values, ascending if they are numbers."""

    name: str
    values: tuple[Any, ...]


def parse(given: Sequence[str]) -> tuple[str, list[Any]]:
    """Return the name and the values of the one sweep that is asked for.

    Args:
      given: the values of --sweep, as often as it was given.

    Raises: UserError for several, or for what is of neither form.
    """
    if len(given) > 1 or given[0].count("=") > 1:
        raise UserError(
            "--sweep varies one argument at a time: give it once, as "
            "--sweep threshold=0.1:0.9:9"
        )
    name, equals, text = given[0].partition("=")
    name = name.strip().removeprefix("model.")
    if not equals or not name or not text.strip():
        raise UserError(f"--sweep {given[0]}: {FORM}")
    values = _between(text) if ":" in text else [_plain(t) for t in text.split(",")]
    if len(values) > MOST_VALUES:
        raise UserError(
            f"--sweep {name}: {len(values)} values are more than {MOST_VALUES}, and "
            "each is an evaluation of the whole split"
        )
    return name, values


def fit(model_name: str, model: contract.Model, given: Sequence[str]) -> Sweep:
    """Return what a model's sweep varies, every value checked as an argument's is.

    That another value than the trained one acts is for whoever has them all.

    Raises: UserError for an argument that is none, or is not for inference, and for
      values that it does not take.
    """
    name, values = parse(given)
    known = models.arguments(model_name)
    if name not in known:
        kind = f"argument of {model_name}"
        raise UserError(f"--sweep: {unknown_name(kind, name, known)}")
    if not known[name].at_inference:
        raise idle(model_name, model, name)
    where = f"--sweep {name}: it"
    fitted = [known[name].check(_typed(known[name], v), where) for v in values]
    distinct = list(dict.fromkeys(fitted))
    if all(isinstance(value, int | float) for value in distinct):
        distinct.sort()
    return Sweep(name, tuple(distinct))


def idle(model_name: str, model: Any, name: str) -> UserError:
    """Return the error of an argument that does not act at inference."""
    acting = ", ".join(at_inference.list_acting(model_name, model)) or "nothing"
    return UserError(
        f"--sweep {name}: it does not act at inference in this {model_name}, as it was "
        f"trained; what can be swept of it: {acting}"
    )


def _typed(argument: Argument, value: Any) -> Any:
    """Return whole numbers as such where the argument wants them."""
    whole = isinstance(value, float) and value == int(value)
    return int(value) if whole and argument.type is int else value


def _between(text: str) -> list[Any]:
    parts = [_plain(part) for part in text.split(":")]
    numbers = all(isinstance(part, int | float) for part in parts)
    finite = numbers and bool(np.isfinite(parts).all())
    if len(parts) != 3 or not finite or not isinstance(parts[2], int) or parts[2] < 2:
        raise UserError(
            f"--sweep {text}: it is FIRST:LAST:COUNT, two numbers and how many values "
            "from the one to the other, at least 2"
        )
    first, last, count = parts
    if count > MOST_VALUES:
        return [first] * count  # too many, which `parse` says
    return [float(f"{v:.{DIGITS}g}") for v in np.linspace(first, last, count)]


def _plain(text: str) -> Any:
    """Return a number, a truth value or a word."""
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)
