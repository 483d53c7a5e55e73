"""Groups of parameters: which ones a model's patterns name.

A path joins the keys of a tree of parameters with "/": "blocks_0/attn/qkv/kernel". In a
pattern "*", "?" and "[...]" stand for characters of one part, "**" for any number of
parts, none included: "head/**" names whatever lies below "head".
"""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import flax.traverse_util
import optax

from tokenjax.errors import UserError, unknown_name

Groups: TypeAlias = Mapping[str, Sequence[str]]
Value = TypeVar("Value")
SHOWN_PATHS = 5


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern stands for a parameter's path."""
    return _matches(pattern.split("/"), path.split("/"))


def _matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    first, *rest = pattern
    if first == "**":
        return any(_matches(rest, path[start:]) for start in range(len(path) + 1))
    return (
        bool(path) and fnmatch.fnmatchcase(path[0], first) and _matches(rest, path[1:])
    )


def resolve_groups(groups: Groups, params: optax.Params) -> dict[str, frozenset[str]]:
    """Return the paths of each group; one path may be in several.

    Raises: UserError for a pattern that no parameter fits.
    """
    paths = list(flax.traverse_util.flatten_dict(params, sep="/"))
    found = {}
    for name, patterns in groups.items():
        members: set[str] = set()
        for pattern in patterns:
            own = [path for path in paths if matches(pattern, path)]
            if not own:
                shown = ", ".join(paths[:SHOWN_PATHS])
                raise UserError(
                    f"the model's parameter group {name!r} has the pattern "
                    f"{pattern!r}, which no parameter fits; they are {shown}"
                    + (", ..." if len(paths) > SHOWN_PATHS else "")
                )
            members.update(own)
        found[name] = frozenset(members)
    return found


def members(groups: Groups, params: optax.Params, *names: str) -> frozenset[str]:
    """Return the paths of all parameters in any group of these names.

    A model without a group has no members in it.

    Raises: UserError as `resolve_groups`.
    """
    wanted = {name: groups[name] for name in names if name in groups}
    return frozenset().union(*resolve_groups(wanted, params).values())


def map_paths(params: optax.Params, function: Callable[[str], Value]) -> optax.Params:
    """Return a tree of the same structure of what the function says of every path."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    values = {path: function(path) for path in flat}
    return flax.traverse_util.unflatten_dict(values, sep="/")


def mask(groups: Groups, params: optax.Params, *names: str) -> optax.Params:
    """Return a tree like `params`: whether each is in any group of these names.

    Raises: UserError as `resolve_groups`.
    """
    inside = members(groups, params, *names)
    return map_paths(params, lambda path: path in inside)


def split(
    params: optax.Params, paths: frozenset[str]
) -> tuple[dict[str, optax.Params], dict[str, optax.Params]]:
    """Return two trees: what is at these paths, and the rest."""
    flat = flax.traverse_util.flatten_dict(dict(params), sep="/")
    inside = {path: value for path, value in flat.items() if path in paths}
    outside = {path: value for path, value in flat.items() if path not in paths}
    unflatten = flax.traverse_util.unflatten_dict
    return unflatten(inside, sep="/"), unflatten(outside, sep="/")


def subtree(groups: Groups, name: str) -> str:
    """Return the key of the one subtree that is a group: "x" of "x/**".

    Raises: UserError for a model without the group, or with one of another form.
    """
    if name not in groups:
        raise UserError(unknown_name("parameter group of the model", name, groups))
    first, *others = groups[name]
    key = first.removesuffix("/**")
    if others or key == first or any(sign in key for sign in "*?[/"):
        raise UserError(
            f"the model's parameter group {name!r} must be one subtree, 'name/**', "
            f"got {tuple(groups[name])}"
        )
    return key
