"""Parameters that a user names, and the layers that a model says they lie in.

A name stands wherever it is in a path: "patch_embed" is "patch_embed/kernel" as well as
"encoder/patch_embed/kernel", "attn" the attention of every block, "bias" every bias.
"blocks_0-3" is blocks_0, blocks_1, blocks_2 and blocks_3; besides, names are patterns
as in `parameter_groups`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import flax.traverse_util
import optax

from tokenjax.errors import UserError, unknown_name
from tokenjax.models import contract
from tokenjax.training.parameter_groups import matches

_RANGE = re.compile(r"(\d+)-(\d+)")
_NUMBERED = re.compile(r"(.*?)(\d+)$")
FREEZE = "name in optimizer.freeze"  # what messages call it


def find_frozen(names: Sequence[str], params: optax.Params) -> frozenset[str]:
    """Return the paths of what `optimizer.freeze` names.

    Raises: UserError for a name that nothing has, and for all parameters.
    """
    paths = list(flax.traverse_util.flatten_dict(params, sep="/"))
    frozen: set[str] = set()
    for name in names:
        for single in expand_range(name):
            found = [path for path in paths if matches(f"**/{single}/**", path)]
            if not found:
                raise UserError(unknown_name(FREEZE, single, list_names(paths)))
            frozen.update(found)
    if names and len(frozen) == len(paths):
        raise UserError(
            f"config: optimizer.freeze {tuple(names)} are all parameters of the model: "
            "nothing is left to learn"
        )
    return frozenset(frozen)


def expand_range(name: str) -> Iterator[str]:
    """Yield "blocks_0", ..., "blocks_3" of "blocks_0-3", any other name itself.

    Raises: UserError for a range that ends before it begins.
    """
    found = _RANGE.search(name)
    if found is None:
        yield name
        return
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise UserError(f"{FREEZE}: {name!r} ends before it begins")
    for number in range(first, last + 1):
        yield from expand_range(f"{name[: found.start()]}{number}{name[found.end() :]}")


def list_names(paths: Iterable[str]) -> list[str]:
    """Return what the parts of paths are called, "blocks_0-11" for twelve of a kind."""
    names = dict.fromkeys(part for path in paths for part in path.split("/"))
    numbers: dict[str, list[int]] = {}
    for name in list(names):
        numbered = _NUMBERED.match(name)
        if numbered:
            del names[name]
            numbers.setdefault(numbered[1], []).append(int(numbered[2]))
    for prefix, found in numbers.items():
        first, last = min(found), max(found)
        if last - first + 1 == len(found) > 1:
            names[f"{prefix}{first}-{last}"] = None
        else:
            names |= dict.fromkeys(f"{prefix}{number}" for number in found)
    return sorted(names)


def number_layers(
    layers: contract.Layers, params: optax.Params
) -> tuple[dict[str, int], int]:
    """Return the layer of every path, from 0, and how many layers there are.

    Layers without parameters do not count.

    Raises: UserError if a parameter is in none, or in several.
    """
    paths = list(flax.traverse_util.flatten_dict(params, sep="/"))
    found: dict[str, int] = {}
    count = 0
    for patterns in layers:
        own = [path for path in paths if any(matches(each, path) for each in patterns)]
        twice = [path for path in own if path in found]
        if twice:
            raise UserError(f"the model has {twice[0]} in two of its parameter_layers")
        found |= dict.fromkeys(own, count)
        count += bool(own)
    missing = [path for path in paths if path not in found]
    if missing:
        raise UserError(f"the model has {missing[0]} in none of its parameter_layers")
    return found, count
