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
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from tokenjax.errors import ConversionError

_WRAPPERS = {
    *("_orig_mod", "module", "model", "net", "network", "backbone", "encoder"),
    *("_forward_module", "_fsdp_wrapped_module"),
}
# What PyTorch puts in the middle of keys too, and no model calls a part of its own.
_ANYWHERE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel
_SHOWN = 5  # of the keys that are left out


def unwrap_keys(
    state_dict: Mapping[str, Any], wanted: Collection[str], known: Collection[str]
) -> dict[str, Any]:
    """Return a state_dict by the model's keys; a key that is none of them stays.

    What lies beside the model, the tensors of a loss, is left out, and that is said.

    Args:
      wanted: keys of the model's parameters.
      known: these, and the keys that a state_dict need not have.

    Raises: ConversionError for weights that are there twice.
    """
    names = {key: _without_inner(key, known) for key in state_dict}
    below = _count_below(set(names.values()), wanted)
    whole = [prefix for prefix, count in below.items() if count == len(wanted)]
    if len(whole) > 1:
        places = " and ".join(f"below {p!r}" if p else "as they are" for p in whole)
        raise ConversionError(
            f"the state_dict holds {min(wanted)} and the rest twice, {places}: nothing "
            "says which to take"
        )
    root = whole[0] if whole else _shared_prefix(names.values(), below)
    keys_by_name: dict[str, str] = {}
    for key, name in names.items():
        read = _read_name(name, root, wanted, known)
        if read in keys_by_name:
            earlier = keys_by_name[read]
            other = key if key != read else earlier
            raise ConversionError(f"the state_dict holds {read} twice, once as {other}")
        keys_by_name[read] = key
    if keys_by_name.keys() >= set(wanted):
        place = root if whole else _common_place(names, keys_by_name, known)
        _leave_out_beside(place, names, keys_by_name, known)
    return {read: state_dict[key] for read, key in keys_by_name.items()}


def strip_wrappers(key: str) -> str:
    """Take wrappers' names off a key of a model whose keys are not known.

    Only those that no model calls a part of its own.
    """
    key = _without_inner(key, ())
    while key.startswith(("module.", "model.")):
        key = key.split(".", 1)[1]
    return key


def _without_inner(key: str, known: Collection[str]) -> str:
    parts = key.split(".")
    if key in known or _ANYWHERE.isdisjoint(parts):
        return key
    return ".".join(part for part in parts if part not in _ANYWHERE)


def _ends(name: str) -> Iterator[str]:
    """Yield what is left of a name without its first part, its first two, and so on."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _count_below(names: Iterable[str], wanted: Collection[str]) -> Counter[str]:
    """Return how many of the model's keys there are below each prefix."""
    return Counter(
        name.removesuffix(end) for name in names for end in _ends(name) if end in wanted
    )


def _shared_prefix(names: Collection[str], below: Counter[str]) -> str:
    """Return the prefix of all names below which most of the model's keys are."""
    shared = [p for p in below if all(name.startswith(p) for name in names)]
    return max(shared, key=lambda p: (below[p], -len(p)), default="")


def _read_name(
    name: str, root: str, wanted: Collection[str], known: Collection[str]
) -> str:
    """Return the model's key that a name is, or the name as far as it is understood."""
    if not name.startswith(root):
        return next((end for end in _ends(name) if end in wanted), name)
    name = name.removeprefix(root)
    for end in _ends(name):
        if end in known:
            return end
        if end.partition(".")[0] not in _WRAPPERS:
            break
    return name


def _common_place(
    names: Mapping[str, str], keys_by_name: Mapping[str, str], known: Collection[str]
) -> str:
    """Return the prefix that all names of the model's keys begin with."""
    heads = [
        names[key].removesuffix(read).split(".")[:-1]
        for read, key in keys_by_name.items()
        if read in known
    ]
    equal = itertools.takewhile(
        lambda parts: len(set(parts)) == 1, zip(*heads, strict=False)
    )
    return "".join(f"{parts[0]}." for parts in equal)


def _leave_out_beside(
    place: str,
    names: Mapping[str, str],
    keys_by_name: dict[str, str],
    known: Collection[str],
) -> None:
    """Take out of `keys_by_name` what is not below the model's prefix, and say it."""
    beside = [
        read
        for read, key in keys_by_name.items()
        if read not in known and not names[key].startswith(place)
    ]
    keys = [keys_by_name.pop(read) for read in beside]
    said = [key for key in keys if key.rpartition(".")[2] != _COUNTER]
    if said:
        more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
        logging.warning(
            "left out, beside the model's weights below %r: %s%s",
            *(place, ", ".join(said[:_SHOWN]), more),
        )
