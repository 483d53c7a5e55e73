"""What `--sweep` varies: an argument of the model, and its values.

threshold=0.1:0.9:9      nine values from 0.1 to 0.9, evenly
budget=0.125,0.25,0.5    these
reduction=none,tome:r=8  methods of token reduction, with arguments of their own
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tokenjax import at_inference, models, reduced_weights
from tokenjax.arguments import Argument
from tokenjax.at_inference import Inference
from tokenjax.errors import UserError, unknown_name
from tokenjax.written_arguments import split_list

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
    if ":" in text:
        first, last, count = _range(name, text)
    else:
        values = [_plain(part) for part in text.split(",")]
        count = len(values)
    if count > MOST_VALUES:
        raise UserError(
            f"--sweep {name}: {count} values are more than {MOST_VALUES}, and each is "
            "an evaluation of the whole split"
        )
    if ":" in text:
        spaced = np.linspace(first, last, count)
        values = [float(f"{value:.{DIGITS}g}") for value in spaced]
    return name, values


def fit(model_name: str, inference: Inference, given: Sequence[str]) -> Sweep:
    """Return what a network's sweep varies, every value checked as an argument's is.

    Args:
      model_name: in the registry.
      inference: of the network, with its weights.
      given: see `parse`.

    Raises: UserError for an argument that is none, or does not act at inference, and
      for values that it does not take.
    """
    known = models.arguments(model_name)
    name = given[0].partition("=")[0].strip().removeprefix("model.")
    written = known[name].written if name in known else None
    if len(given) == 1 and written is not None and written.join is not None:
        pieces = split_list(given[0].partition("=")[2], f"--sweep {name}")
        values = written.join(pieces)
    else:
        name, values = parse(given)
    if name not in known:
        kind = f"argument of {model_name}"
        raise UserError(f"--sweep: {unknown_name(kind, name, known)}")
    where = f"--sweep {name}: it"
    fitted = [known[name].check(_typed(known[name], v), where) for v in values]
    for value in fitted if written is not None else ():
        other = inference.model.clone(**{name: value})
        reduced_weights.fit(inference.variables, inference.model, other)
    learned = name in at_inference.learned_arguments(inference.model)
    acts = known[name].at_inference and (learned or inference.acts(known[name], fitted))
    if not acts:
        acting = ", ".join(at_inference.list_acting(model_name, inference))
        raise UserError(
            f"--sweep {name}: it does not act at inference in this {model_name}, as it "
            f"was trained; what can be swept of it: {acting or 'nothing'}"
        )
    distinct = list(dict.fromkeys(fitted))
    if all(isinstance(value, int | float) for value in distinct):
        distinct.sort()
    return Sweep(name, tuple(distinct))


def _typed(argument: Argument, value: Any) -> Any:
    """Return whole numbers as such where the argument wants them."""
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and argument.type is int else value


def _range(name: str, text: str) -> tuple[float, float, int]:
    """Return FIRST, LAST and COUNT."""
    parts = [_plain(part) for part in text.split(":")]
    numbers = all(isinstance(part, int | float) for part in parts)
    finite = numbers and all(map(math.isfinite, parts))
    if len(parts) != 3 or not finite or not isinstance(parts[2], int) or parts[2] < 2:
        raise UserError(
            f"--sweep {name}={text}: it is FIRST:LAST:COUNT, two numbers and how many "
            "values from the one to the other, at least 2"
        )
    return parts[0], parts[1], parts[2]


def _plain(text: str) -> Any:
    """Return a number, a truth value or a word."""
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)
