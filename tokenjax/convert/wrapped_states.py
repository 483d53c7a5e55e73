"""Finding the state_dict in what a trainer saved: mappings within mappings.

A state_dict is a mapping of names to tensors, and of nothing else. Where several are
found, the name that each is under decides: averaged weights come first, for a run that
keeps them is evaluated by them; then what trainers call the model; then the only one
left. What is taken before another is said. Where nothing decides, all are named.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from absl import logging

from tokenjax.convert import part_names
from tokenjax.convert.inert_globals import RecordedArray
from tokenjax.errors import ConversionError, shown

_DEEPEST = 8  # mappings within mappings
Found = tuple[list[str], dict[str, Any]]  # the names on the way to a state, the state


def find_state(
    loaded: object, path: pathlib.Path, key: str | None = None
) -> dict[str, Any]:
    """Return the state_dict in what was loaded from a file.

    Args:
      path: of the file, for sentences.
      key: which part to take; see `tokenjax.convert.checkpoint_files`.

    Raises: ConversionError for none, for several among which nothing decides, and for
      a `key` that is not there.
    """
    taken: list[str] = []
    names = key.split("/") if key else []
    while names and isinstance(loaded, Mapping):
        part = loaded.get(names[0])
        if not isinstance(part, Mapping):
            break
        loaded, taken = part, [*taken, names.pop(0)]
    if len(names) > 1:
        raise ConversionError(_no_part(loaded, _where(path, taken), names[0]))
    taken, state = _resolve(loaded, path, taken)
    where = _where(path, taken)
    if names:
        state = take_below(state, names[0], where)
    return {name: _read(value, where, name) for name, value in state.items()}


def take_below(state: dict[str, Any], beginning: str, where: str) -> dict[str, Any]:
    """Return the part of a state whose keys begin with a name, "teacher" or "a.b".

    Raises: ConversionError for none; `where` says in which file.
    """
    below = beginning.removesuffix(".") + "."
    part = {key: value for key, value in state.items() if key.startswith(below)}
    if not part:
        raise ConversionError(_no_part(state, where, beginning))
    return part


def _no_part(loaded: object, where: str, name: str) -> str:
    """Return the sentence for a part that is not there, with those that are."""
    parts: list[str] = []
    if isinstance(loaded, Mapping):
        parts = [
            str(key).partition(".")[0]
            for key, value in loaded.items()
            if isinstance(value, Mapping) or "." in str(key)
        ]
    names = ", ".join(sorted(map(repr, set(parts)))) or "none"
    return f"{where}: holds no part {name!r}; its parts: {names}"


def _read(value: Any, where: str, name: str) -> Any:
    if not isinstance(value, RecordedArray):
        return value
    try:
        return value.read()
    except ValueError as error:
        raise ConversionError(
            f"{where}: {name} is no ordinary tensor: {error}"
        ) from error


def _resolve(loaded: object, path: pathlib.Path, taken: list[str]) -> Found:
    """Descend until a state is reached."""
    while not _is_state(loaded):
        found = _parts(loaded)
        _say_passed_over(loaded, found, path, taken)
        if not found or len(taken) > _DEEPEST:
            raise ConversionError(_why_none(loaded, path, taken))
        name = _choose(found, path, taken)
        loaded, taken = found[name], [*taken, name]
    return taken, dict(loaded)


def _choose(
    found: dict[str, Mapping[Any, Any]], path: pathlib.Path, taken: list[str]
) -> str:
    """Return which of several parts to take, and say what is left for it.

    Raises: ConversionError where nothing decides.
    """
    ranks = {name: part_names.rank(name, found) for name in found}
    best = [name for name in found if ranks[name] == min(ranks.values())]
    states = [_resolve(found[name], path, [*taken, name])[1] for name in best[1:]]
    if states:
        first = _resolve(found[best[0]], path, [*taken, best[0]])[1]
        if not all(_are_equal(first, state) for state in states):
            names = ", ".join(repr("/".join([*taken, name])) for name in best)
            raise ConversionError(
                f"{shown(path)}: holds weights under {names}, and nothing says which "
                "to take; name a part as the key (--key)"
            )
    others = [name for name in found if name not in best]
    if others:
        kind = (
            "averaged weights" if ranks[best[0]] == part_names.AVERAGED else "weights"
        )
        logging.warning(
            "%s: the %s, %r, are taken, not %s",
            *(shown(path), kind, "/".join([*taken, best[0]])),
            ", ".join(map(repr, others)),
        )
    return best[0]


def _say_passed_over(
    loaded: object, found: Mapping[str, object], path: pathlib.Path, taken: list[str]
) -> None:
    """Say which averaged weights are in the file as a list, without their names."""
    for name, part in _weights_by_name(loaded):
        lists = [value for value in part.values() if isinstance(value, list)]
        nameless = any(hasattr(value[0], "shape") for value in lists if value)
        if nameless and name not in found and part_names.is_averaged(name):
            logging.warning(
                "%s: the averaged weights, %r, are passed over: they have no names",
                *(shown(path), "/".join([*taken, name])),
            )


def _are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        _hold_the_same(value, other[key]) for key, value in one.items()
    )


def _hold_the_same(one: Any, other: Any) -> bool:
    try:
        if isinstance(one, RecordedArray) and isinstance(other, RecordedArray):
            return np.array_equal(one.read(), other.read())
        return bool(one.dtype == other.dtype and one.equal(other))
    except (
        Exception
    ):  # one is not ordinary, or is damaged: that is told when it is read
        return False


def _is_state(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether names lead to tensors, not all of them single numbers."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and all(hasattr(tensor, "shape") for tensor in value.values())
        and any(len(tensor.shape) > 0 for tensor in value.values())
    )


def _parts(loaded: object) -> dict[str, Mapping[Any, Any]]:
    """Return the mappings in a mapping that lead to a state."""
    reached: dict[int, bool] = {}
    return {
        name: part
        for name, part in _weights_by_name(loaded)
        if _leads_to_state(part, _DEEPEST, reached)
    }


def _leads_to_state(value: object, depth: int, reached: dict[int, bool]) -> bool:
    """Return whether a state is in a mapping; `reached` keeps what was found out."""
    if id(value) not in reached:
        reached[id(value)] = False  # while it is looked through: it may hold itself
        reached[id(value)] = _is_state(value) or (
            depth > 0
            and any(
                _leads_to_state(part, depth - 1, reached)
                for _, part in _weights_by_name(value)
            )
        )
    return reached[id(value)]


def _weights_by_name(loaded: object) -> list[tuple[str, Mapping[Any, Any]]]:
    """Return mappings under names that do not speak of training."""
    if not isinstance(loaded, Mapping):
        return []
    return [
        (name, part)
        for name, part in loaded.items()
        if isinstance(name, str)
        and isinstance(part, Mapping)
        and part_names.may_hold_weights(name)
    ]


def _why_none(loaded: object, path: pathlib.Path, taken: list[str]) -> str:
    """Return the sentence for what holds no state: of the model's part, if any."""
    while isinstance(loaded, Mapping) and len(taken) <= _DEEPEST:
        below = [
            n for n, part in _weights_by_name(loaded) if n in part_names.MODEL and part
        ]
        if not below:
            break
        loaded, taken = loaded[below[0]], [*taken, below[0]]
    reason = ""
    if isinstance(loaded, Mapping) and len(taken) <= _DEEPEST:
        for key, value in loaded.items():
            if not isinstance(key, str) or not hasattr(value, "shape"):
                reason = f": {key!r} is a {type(value).__name__}"
                break
    return f"{_where(path, taken)}: holds no state_dict of tensors{reason}"


def _where(path: pathlib.Path, taken: list[str]) -> str:
    return f"{shown(path)}{''.join(f'[{key!r}]' for key in taken)}"
