"""Methods of token reduction by name, which anybody may add to.

    from tokenjax.models import reduction

    reduction.register("mine", Mine)                 a class derived from `Reducer`
    models.create("vit_small_patch16", reduction="mine:rate=0.5")

A method is written "NAME" or "NAME:key=value,...", or is a dict {"name": NAME, key:
value}; the text is how it is kept.
"""

import abc
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import flax.linen as nn
import flax.traverse_util

from tokenjax.arguments import AT_INFERENCE, Written, check_all
from tokenjax.errors import UserError, unknown_of_many
from tokenjax.models.checked_module import CheckedModule, check_class
from tokenjax.models.reduction.reducer import EncoderFacts, Reducer
from tokenjax.registry import Registry
from tokenjax.written_arguments import read_arguments, write_arguments

NONE = "none"
_BEGINS = re.compile(r"\s*[A-Za-z_]\w*\s*(:|$)")  # a method, with or without arguments
# Where an encoder puts what acts in a block, and before one.
_PLACE = re.compile(r"(?:blocks_(\d+)/reducer|reduction_(\d+))/(.+)")
METHODS: Registry[type[Reducer]] = Registry("reduction")


def register(name: str, reducer: type[Reducer]) -> None:
    """Add a method.

    Raises: UserError for a name that another method has or that is no word, or for what
      is no method.
    """
    if not isinstance(name, str) or not name.isidentifier() or name == "none":
        raise UserError(
            f'a reduction\'s name is a word, other than "none", got {name!r}: it is '
            "written NAME:key=value,..."
        )
    if not (isinstance(reducer, type) and issubclass(reducer, Reducer)):
        raise UserError(
            f"reduction {name!r} must be a class derived from "
            f"tokenjax.models.reduction.Reducer, got {reducer!r}"
        )
    check_class("reduction", name, reducer)
    METHODS.add(name, reducer)


def names() -> list[str]:
    """Return every name, sorted."""
    return METHODS.names()


def read(
    written: str | Mapping[str, Any], where: str = "reduction"
) -> tuple[str, dict[str, Any]]:
    """Return a method's name and its arguments, each checked.

    Raises: UserError for what names no method, or arguments that do not fit it.
    """
    if isinstance(written, str):
        name, colon, rest = written.strip().partition(":")
        arguments = read_arguments([rest], f"{where}: {name}") if colon else {}
    else:
        if "name" not in written:
            raise UserError(
                f"{where}: {dict(written)} does not say which method it is of: "
                'give {"name": NAME, key: value}'
            )
        name = str(written["name"])
        arguments = {key: value for key, value in written.items() if key != "name"}
    name = name.strip()
    if name not in METHODS:
        raise UserError(f"{where}: {unknown_of_many('method', name, METHODS)}")
    method = METHODS[name]
    try:
        fitted = check_all(arguments, method, f"argument of {name}", f"{name}: ")
        method(**fitted, parent=None)  # refuses what does not fit together
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return name, fitted


def write(written: str | Mapping[str, Any] | None, where: str) -> str | None:
    """Return how a method is kept: "NAME:key=value,..."; None for none.

    Raises: as `read`.
    """
    if written is None or written == NONE:
        return None
    name, arguments = read(written, where)
    return f"{name}:{write_arguments(arguments)}" if arguments else name


def join(pieces: Sequence[str]) -> list[str]:
    """Return several methods, of what stands between the commas of a list of them.

    What begins no method belongs to the one before: "tome:r=2", "prop_attn=False".
    """
    joined: list[str] = []
    for piece in pieces:
        if joined and not _BEGINS.match(piece):
            joined[-1] = f"{joined[-1]},{piece}"
        else:
            joined.append(piece)
    return joined


def build(written: str | Mapping[str, Any] | None) -> Reducer | None:
    """Return the method that is written so, bound to no module; None for none.

    Raises: as `read`.
    """
    if written is None or written == "none":
        return None
    name, arguments = read(written)
    return METHODS[name](**arguments, parent=None)


ReductionName: TypeAlias = Annotated[
    str | Mapping[str, Any] | None,
    Written(write, join),
    AT_INFERENCE,
    "how tokens are reduced: NAME:key=value,... or nothing",
]


class TakesReduction(CheckedModule):
    """Base of models whose tokens a method may reduce, checked when they are made."""

    reduction: ReductionName = None

    def __post_init__(self) -> None:
        super().__post_init__()
        method = self.written_reduction()
        if method is not None:
            method.places(self.facts())

    @nn.nowrap
    def written_reduction(self) -> Reducer | None:
        """Return the method that the argument `reduction` names, bound to no module."""
        return build(self.reduction)

    @abc.abstractmethod
    def facts(self) -> EncoderFacts:
        """Return what a method may know of the model's encoder."""

    @nn.nowrap
    def found_arguments(self, variables: Mapping[str, Any]) -> dict[str, object]:
        """Return the method as training found it, see `contract.FindsArguments`."""
        method = self.written_reduction()
        if method is None or self.reduction is None:
            return {}
        params = _sort_by_block(variables["params"])
        arguments = method.find_arguments(params, self.facts())
        if not arguments:
            return {}
        name, _ = read(self.reduction)
        return {"reduction": write({"name": name, **arguments}, "reduction")}


def _sort_by_block(params: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the parameters of all reducers by block and name."""
    found: dict[int, dict[str, Any]] = {}
    for path, leaf in flax.traverse_util.flatten_dict(dict(params), sep="/").items():
        if place := _PLACE.search(path):
            found.setdefault(int(place[1] or place[2]), {})[place[3]] = leaf
    return found
