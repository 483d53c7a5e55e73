"""Taking wrappers' names off the keys of a state_dict, as far as a model's keys say.

A trainer that holds a model under a name puts it before every key: "module." (data
parallel), "_orig_mod." (torch.compile), "model." (Lightning), any attribute's name.
What is a wrapper's and what the model's own only the model can say, for its own keys
may begin with "encoder." too. So the prefix below which all the model's keys are is
taken; where there are two, nothing decides. Only where there is none, each key by
itself is read as the longest of the model's keys that is left without wrappers' names
in front.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from tokenjax.errors import ConversionError, shown

Arrays = dict[str, Any]
Rename = Callable[[Arrays], Arrays]

_WRAPPERS = {
    *("_orig_mod", "module", "model", "net", "network", "backbone", "encoder"),
    *("_forward_module", "_fsdp_wrapped_module"),
}
# What PyTorch puts in the middle of keys too, and no model calls a part of its own.
_ANYWHERE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel
_SHOWN = 5  # of the keys that are left out


def unwrap_keys(
    arrays: Arrays,
    wanted: Collection[str],
    known: Collection[str],
    rename: Rename = dict,
) -> Arrays:
    """Return arrays by the keys they have without wrappers; unknown keys stay.

    What lies beside the model, the tensors of a loss, is left out, and that is said.

    Args:
      wanted: keys of the model that arrays must have.
      known: these, and the keys that they need not have.
      rename: turns arrays by another library's keys into those by the model's, as far
        as it knows them. What is returned has not been renamed.

    Raises: ConversionError for weights that are there twice.
    """
    wanted = set(wanted)
    named = _drop_inner_names(arrays, known)
    place = _find_whole(named, wanted, rename)
    root = _most_likely_prefix(named, wanted, rename) if place is None else place
    names: dict[str, str] = {}  # as they are read, and as they were
    for name in named:
        read = _read(name, root, known)
        if place is not None and not name.startswith(root):
            read = next((end for end in _ends(name) if end in wanted), read)
        if read in names:
            other = names[read] if name == read else name
            raise ConversionError(f"the state_dict holds {read} twice, once as {other}")
        names[read] = name
    if place is None and names.keys() >= wanted:
        place = _common_beginning(names, known)
    if place is not None:
        _leave_out_beside(place, names, known)
    return {read: named[name] for read, name in names.items()}


def below_likely_prefix(
    arrays: Arrays, expected: Collection[str], rename: Rename = dict
) -> Arrays:
    """Return what lies below the prefix below which most of the expected keys are.

    For a model whose size the file is still to tell, so that keys may be missing.
    """
    named, likely = _drop_inner_names(arrays, expected), {"": -1}
    for prefix, count in sorted(_count_below(named).items()):
        if 2 * count >= len(named):
            found = _understand(_below(prefix, named), set(expected), rename)
            likely[prefix] = len(found)
    return _below(max(likely, key=lambda prefix: likely[prefix]), named)


def _drop_inner_names(arrays: Arrays, known: Collection[str]) -> Arrays:
    named: Arrays = {}
    for key, array in arrays.items():
        parts = [part for part in key.split(".") if part not in _ANYWHERE]
        name = key if key in known else ".".join(parts)
        if name in named:
            raise ConversionError(f"the state_dict holds {name} twice, once as {key}")
        named[name] = array
    return named


def _find_whole(arrays: Arrays, wanted: set[str], rename: Rename) -> str | None:
    """Return the prefix below which all of the model's keys are, if there is one.

    Raises: ConversionError if there are two.
    """
    whole: list[str] = []
    for prefix, count in sorted(_count_below(arrays).items()):
        if not wanted or 2 * count < len(wanted):
            continue
        if _understand(_below(prefix, arrays), wanted, rename) != wanted:
            continue
        for other in whole:
            rest = {k: v for k, v in arrays.items() if not k.startswith(prefix)}
            rest = _below(other, rest)
            if _understand(rest, wanted, rename) == wanted:
                places = " and ".join(
                    f"below {p!r}" if p else "as they are" for p in (other, prefix)
                )
                raise ConversionError(
                    f"the state_dict holds {min(wanted)} and the rest twice, {places}: "
                    "nothing says which to take; name a part as the key (--key)"
                )
        whole.append(prefix)
    return whole[0] if whole else None


def _most_likely_prefix(arrays: Arrays, wanted: set[str], rename: Rename) -> str:
    """Return the prefix of all keys below which most of the model's keys are."""
    shared = [p for p, count in _count_below(arrays).items() if count == len(arrays)]
    counts = {p: len(_understand(_below(p, arrays), wanted, rename)) for p in shared}
    return max(shared, key=lambda p: (counts[p], -len(p)), default="")


def _count_below(names: Iterable[str]) -> Counter[str]:
    """Return how many names there are below each prefix."""
    return Counter(name.removesuffix(end) for name in names for end in _ends(name))


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _understand(arrays: Arrays, wanted: set[str], rename: Rename) -> set[str]:
    """Return which of the model's keys arrays have, renamed."""
    try:
        return wanted & rename(arrays).keys()
    except ConversionError:  # two keys became one
        return set()


def _ends(name: str) -> Iterator[str]:
    """Yield a name, then what is left of it without its first part, first two, ..."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _read(name: str, root: str, known: Collection[str]) -> str:
    """Return the model's key that a name is, or the name as far as it is understood."""
    name = name.removeprefix(root)
    for end in _ends(name):
        if end in known:
            return end
        if end.partition(".")[0] not in _WRAPPERS:
            break
    return name


def _common_beginning(names: Mapping[str, str], known: Collection[str]) -> str:
    """Return the prefix that all names of the model's keys begin with."""
    heads = [
        name.removesuffix(read).split(".")[:-1]
        for read, name in names.items()
        if read in known
    ]
    equal = itertools.takewhile(
        lambda parts: len(set(parts)) == 1, zip(*heads, strict=False)
    )
    return "".join(f"{parts[0]}." for parts in equal)


def _leave_out_beside(
    place: str, names: dict[str, str], known: Collection[str]
) -> None:
    """Take out of `names` what is not below the model's prefix, and say it."""
    beside = [
        read
        for read, name in names.items()
        if read not in known and not name.startswith(place)
    ]
    left_out = [names.pop(read) for read in beside]
    said = [name for name in left_out if name.rpartition(".")[2] != _COUNTER]
    if said:
        more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
        logging.warning(
            "left out, beside the model's weights below %r: %s%s",
            *(place, ", ".join(map(shown, said[:_SHOWN])), more),
        )
