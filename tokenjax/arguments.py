"""Arguments of settings, models and data sources: described once, checked by one check.

A field of a dataclass (settings, Flax modules) or an argument of a function (sources)
says what it takes in its annotation:

    patch_size: Annotated[int, at_least(1), "pixels a side of a patch"] = 16
    stk: Annotated[Literal["recorded", "soft_topk"], "the local attention"] = "recorded"
    name: Annotated[str, OneOf(SCHEDULES), "how the rate goes on"] = "cosine"

that is its type, a `Range` for its numbers, a `OneOf` for names that may be registered,
`Written` for what may be given in several ways, what it means, `FromData` if its value
follows from the data unless it is given; whether weights may be used with another
value: `NOT_OF_WEIGHTS`, `AT_INFERENCE`; and whether a resumed run may have one: `FREE`,
`READ_AT_START`, `Unread`.
"""

import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import jax.numpy as jnp

from tokenjax.errors import UserError, unknown_name
from tokenjax.registry import Registry

REQUIRED = object()  # the default of an argument that has none
LARGEST_SIZE = 2**20  # of a width, a count, a number of pixels
_FLAX = ("parent", "name")  # fields that every Flax module has


@dataclasses.dataclass(frozen=True)
class Range:
    """Where numbers lie; None is no bound, `above` and `below` are themselves out."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, number: float) -> bool:
        """Return whether a number lies within; NaN never does."""
        return (
            (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
            and not math.isnan(number)
        )

    def describe(self) -> str:
        """Return the range in words: "at least 1", "within [0, 1)"."""
        low = self.minimum if self.minimum is not None else self.above
        high = self.maximum if self.maximum is not None else self.below
        if low is not None and high is not None and high <= 1:
            left = "[" if self.minimum is not None else "("
            right = "]" if self.maximum is not None else ")"
            return f"within {left}{low:g}, {high:g}{right}"
        bounds = (
            ("at least", self.minimum),
            ("above", self.above),
            ("at most", self.maximum),
            ("below", self.below),
        )
        parts = [
            f"{word} {_plain(value)}" for word, value in bounds if value is not None
        ]
        return " and ".join(parts)


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def at_least(minimum: float, maximum: float | None = None) -> Range:
    """Return the range from `minimum` on, both ends included."""
    return Range(minimum=minimum, maximum=maximum)


def above(minimum: float) -> Range:
    """Return the range of what is larger than `minimum`."""
    return Range(above=minimum)


SIZE = at_least(1, LARGEST_SIZE)  # a width, a count of layers, pixels
COUNT = at_least(0, LARGEST_SIZE)  # likewise, and none will do
SHARE = at_least(0, 1)  # a share or a probability
RATE = Range(minimum=0, below=1)  # a share that must leave something
NOT_NEGATIVE = at_least(0)


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Names from a registry, which anybody may add to."""

    registry: Registry


@dataclasses.dataclass(frozen=True)
class FromData:
    """What of the data an argument's value follows from, unless it is given.

    `what` is "side" (pixels, of square images), "size" (height, width), "channels",
    "classes", "cameras" or "modalities".
    """

    what: str


@dataclasses.dataclass(frozen=True, init=False)
class Unread:
    """Nobody reads the setting where another, `key`, has one of these values.

    It lists who does not read it, since others may be registered that do.
    """

    key: str
    values: tuple[Any, ...]

    def __init__(self, key: str, *values: Any):
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "values", values)


@dataclasses.dataclass(frozen=True)
class Written:
    """How a value is kept that may be given in several ways.

    `write` takes the value and what messages call the argument, and raises UserError
    for what does not fit. `join` makes several values of a list of them that was taken
    apart at every comma; None: each piece is one.
    """

    write: Callable[[Any, str], Any]
    join: Callable[[Sequence[str]], list[str]] | None = None


class _Mark:
    """A mark in an annotation."""

    def __init__(self, name: str):
        self._name = name

    def __repr__(self) -> str:
        return self._name


FREE = _Mark("FREE")  # a resumed run may have another value
# Weights mean the same whatever it is: what acts in training alone, a precision.
NOT_OF_WEIGHTS = _Mark("NOT_OF_WEIGHTS")
# It acts at inference, and other values than the trained one make sense there: what
# `eval.py --sweep` varies.
AT_INFERENCE = _Mark("AT_INFERENCE")
READ_AT_START = _Mark("READ_AT_START")  # likewise, for it is not read again
FLOATING = _Mark("FLOATING")  # the name of a floating type, or the type

DType = Annotated[
    Any, FLOATING, NOT_OF_WEIGHTS, "of the arithmetic: float32, bfloat16, float16"
]


@dataclasses.dataclass(frozen=True)
class Argument:
    """One field or argument, as its annotation describes it.

    Attributes:
      name: in code and configurations.
      type: without what describes it.
      default: `REQUIRED` if it must be given.
      meaning: a line for whoever sets it.
      range: of its numbers, or None.
      names: where its names are registered, or None.
      free: whether a resumed run may have another value.
      read_at_start: whether a resumed run does not read it again.
      unread: where nobody reads it.
      from_data: see `FromData`; "" if it does not follow from the data.
      floating: whether it is the type of an array's numbers.
      of_weights: whether weights mean something else with another value.
      at_inference: whether other values make sense at inference, on the same weights.
      written: how it is kept, or None: as it is given.
    """

    name: str
    type: Any
    default: Any
    meaning: str = ""
    range: Range | None = None
    names: Registry | None = None
    free: bool = False
    read_at_start: bool = False
    unread: tuple[Unread, ...] = ()
    from_data: str = ""
    floating: bool = False
    of_weights: bool = True
    at_inference: bool = False
    written: Written | None = None

    @property
    def is_section(self) -> bool:
        """Whether it is a dataclass with arguments of its own."""
        return isinstance(self.type, type) and dataclasses.is_dataclass(self.type)

    def is_unread(self, config: Mapping[str, Any]) -> bool:
        """Return whether nobody reads it under a configuration, given by whole keys."""
        return any(config.get(each.key) in each.values for each in self.unread)

    def describe_type(self) -> str:
        """Return what it takes, in words: "int, at least 1", "cosine | step"."""
        if self.names is not None:
            return " | ".join(self.names.names())
        kind = "floating type" if self.floating else _told(self.type)
        return f"{kind}, {self.range.describe()}" if self.range else kind

    def check(self, value: Any, where: str) -> Any:
        """Return the value as its type has it (a list as a tuple, 1 as 1.0).

        Args:
          value: given by a user.
          where: what messages call the argument.

        Raises: UserError if it does not fit.
        """
        if self.floating:
            _check_floating(value, where)
            return value
        fitted = _fit(value, self.type)
        if fitted is _MISFIT:
            raise self._refusal(f"{where} must be {_wanted(self.type, value)}")
        for number in _numbers(fitted):
            if isinstance(number, float) and not math.isfinite(number):
                raise self._refusal(f"{where} must be finite, got {value!r}")
            if self.range is not None and not self.range.holds(number):
                bounds = self.range.describe()
                raise self._refusal(f"{where} must be {bounds}, got {value}")
        if self.names is not None and fitted not in self.names:
            wanted = _one_of(self.names.names(), value)
            raise self._refusal(f"{where} must be {wanted}")
        return fitted if self.written is None else self.written.write(fitted, where)

    def _refusal(self, sentence: str) -> UserError:
        """Return the error, with what the argument is for."""
        return UserError(f"{sentence} ({self.meaning})" if self.meaning else sentence)


def describe(target: Any) -> Mapping[str, Argument]:
    """Return the arguments of a dataclass, a Flax module's class or a function."""
    return _describe(target)


@functools.cache
def _describe(target: Any) -> Mapping[str, Argument]:
    hints = typing.get_type_hints(target, include_extras=True)
    if isinstance(target, type):
        fields = [
            f
            for f in dataclasses.fields(target)
            if f.name not in _FLAX or not _is_flax(target)
        ]
        defaults = {field.name: _default(field) for field in fields}
    else:
        parameters = inspect.signature(target).parameters.values()
        defaults = {
            each.name: REQUIRED if each.default is each.empty else each.default
            for each in parameters
        }
    return {
        name: _argument(name, hints.get(name, Any), default)
        for name, default in defaults.items()
    }


def check_all(
    values: Mapping[str, Any], target: Any, kind: str, prefix: str
) -> dict[str, Any]:
    """Return the values given for a target's arguments, each checked.

    Args:
      values: by name.
      target: see `describe`.
      kind: what messages call an argument of this target: "argument of vdpa".
      prefix: what messages put before an argument's name: "vdpa: ".

    Raises: UserError for an unknown name or a value that does not fit.
    """
    known = describe(target)
    for name in values:
        if name not in known:
            raise UserError(unknown_name(kind, name, known))
    return {
        name: known[name].check(value, f"{prefix}{name}")
        for name, value in values.items()
    }


def _is_flax(target: type) -> bool:
    return any(base.__module__.startswith("flax.linen") for base in target.__mro__)


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED


def _argument(name: str, hint: Any, default: Any) -> Argument:
    marks: tuple[Any, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, *more = typing.get_args(hint)
        marks = tuple(more)
    found: dict[str, Any] = {}
    for mark in marks:  # a later one stands for an earlier one: aliases are refined
        if isinstance(mark, str):
            found["meaning"] = mark
        elif isinstance(mark, Range):
            found["range"] = mark
        elif isinstance(mark, OneOf):
            found["names"] = mark.registry
        elif isinstance(mark, FromData):
            found["from_data"] = mark.what
        elif isinstance(mark, Written):
            found["written"] = mark
        elif isinstance(mark, Unread):
            found["unread"] = (*found.get("unread", ()), mark)
        elif mark is FREE:
            found["free"] = True
        elif mark is NOT_OF_WEIGHTS:
            found["of_weights"] = False
        elif mark is AT_INFERENCE:
            found["at_inference"] = True
        elif mark is READ_AT_START:
            found["read_at_start"] = True
        elif mark is FLOATING:
            found["floating"] = True
    return Argument(name, hint, default, **found)


_MISFIT = object()


def _fit(value: Any, hint: Any) -> Any:
    """Return the value as a type has it, or `_MISFIT`; a list serves as a tuple."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return _fit(value, inner[0])
    if origin in (typing.Union, types.UnionType):
        fitted = (_fit(value, each) for each in inner)
        return next((each for each in fitted if each is not _MISFIT), _MISFIT)
    if origin is Literal:
        same = (each for each in inner if each == value and type(each) is type(value))
        return next(same, _MISFIT)
    if origin is tuple:
        return _fit_tuple(value, inner)
    if hint in (int, float):
        return _fit_number(value, hint)
    if hint is None or hint is type(None):
        return value if value is None else _MISFIT
    kind = origin or hint
    return value if isinstance(kind, type) and isinstance(value, kind) else _MISFIT


def _fit_number(value: Any, hint: type) -> Any:
    """Numpy's numbers are taken too; a truth value is no number."""
    if isinstance(value, bool):
        return _MISFIT
    if isinstance(value, numbers.Integral):
        return hint(value)
    if hint is float and isinstance(value, numbers.Real):
        return float(value)
    return _MISFIT


def _fit_tuple(value: Any, inner: tuple[Any, ...]) -> Any:
    if not isinstance(value, tuple | list):
        return _MISFIT
    if len(inner) == 2 and inner[1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if inner and len(inner) != len(value):
        return _MISFIT
    if not inner:
        return tuple(value)
    fitted = tuple(_fit(item, hint) for item, hint in zip(value, inner, strict=True))
    return _MISFIT if _MISFIT in fitted else fitted


def _told(hint: Any) -> str:
    """Return a type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " | ".join(str(each) for each in inner)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_told(each) for each in inner)
    if origin is tuple:
        return (
            f"tuple[{', '.join('...' if e is Ellipsis else _told(e) for e in inner)}]"
        )
    if hint is type(None):
        return "None"
    return (origin or hint).__name__ if isinstance(origin or hint, type) else str(hint)


def _wanted(hint: Any, value: Any) -> str:
    """Return what would be right and what was given, with the nearest of choices."""
    if typing.get_origin(hint) is not Literal:
        return f"{_told(hint)}, got {value!r}"
    return _one_of([str(each) for each in typing.get_args(hint)], value)


def _one_of(options: Sequence[str], value: Any) -> str:
    nearest = difflib.get_close_matches(str(value), options, n=1)
    hint = f", did you mean {nearest[0]!r}?" if nearest else ""
    return f"one of {', '.join(options)}, got {value!r}{hint}"


def _numbers(value: Any) -> list[Any]:
    """Return the numbers of a value, which may be nested tuples."""
    if isinstance(value, tuple | list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return [value]
    return []


def _check_floating(value: Any, where: str) -> None:
    try:
        floating = value is not None and jnp.issubdtype(jnp.dtype(value), jnp.floating)
    except (TypeError, ValueError, SyntaxError):  # numpy parses names
        floating = False
    if not floating:
        raise UserError(f"{where} must be a floating type, got {value!r}")
