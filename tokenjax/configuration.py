"""Configurations with every argument of their model and their data source.

A file in `configs/` names a model and a source and sets what it wants to; `complete`
fills in the rest with defaults, so that each can be set on the command line and is
written into the run's config.json. None stands for "from the data" (image size,
channels, classes) and for "not given".

Choosing another model or source by its name alone brings that one's arguments: values
that both take are kept, what the other does not know is dropped.
"""

import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from ml_collections import ConfigDict, config_dict

from tokenjax import card as cards
from tokenjax import data, models, storage
from tokenjax.arguments import REQUIRED, Argument
from tokenjax.errors import UserError
from tokenjax.model_of_weights import take_model_of_weights
from tokenjax.training.settings import (
    FROM_WEIGHTS,
    Settings,
    default_config,
    list_arguments,
)

Arguments = Mapping[str, Argument]
# The sections that hold a thing's arguments: the key of its name, who knows them.
SECTIONS: dict[str, tuple[str, Callable[[str], Arguments]]] = {
    "model": ("name", models.arguments),
    "data": ("source", data.arguments),
}


class Row(NamedTuple):
    """A setting as it is listed: in a configuration, with what it means."""

    key: str
    type: str
    default: Any
    value: Any
    meaning: str

    @property
    def is_changed(self) -> bool:
        """Whether the configuration has another value than the default."""
        return self.value != self.default


def complete(config: ConfigDict, chosen: Mapping[str, str] | None = None) -> None:
    """Fill in, in place, every argument of the named model and the named source.

    Args:
      config: of a run; one without these sections is left alone.
      chosen: names that replace the configuration's: {"model.name": "vit"}.

    Raises: UserError for a name that is not there.
    """
    take_model_of_weights(config, chosen or {})
    for section, (key, _) in SECTIONS.items():
        if not isinstance(config.get(section), ConfigDict):
            continue
        given = config[section].items()  # not to_dict(): it may hold itself
        name = (chosen or {}).get(f"{section}.{key}")
        values, known = _complete(section, dict(given), name)
        for argument in known.values():
            values[argument.name] = _as_field(argument, values[argument.name])
        with config.unlocked():
            config[section] = ConfigDict(values)


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, as plain values, with what `complete` fills in.

    Raises: UserError for a name that is not there.
    """
    whole = dict(config)
    for section in SECTIONS:
        if isinstance(config.get(section), Mapping):
            whole[section], _ = _complete(section, dict(config[section]), None)
    return whole


def read_directory(directory: pathlib.Path) -> ConfigDict:
    """Return the configuration of a run or, without its data, a converted checkpoint.

    Raises: UserError if the directory is neither, or its files are not whole.
    """
    card = cards.read(directory)
    path = directory / "config.json"
    config = default_config()
    known: Any
    if card is not None and card.config is None:
        known = {"model": card.model, "task": card.task or config.task}
        with config.unlocked():
            config.data = ConfigDict({"source": config_dict.placeholder(str)})
    elif card is not None or path.exists():
        known = card.config if card is not None else storage.read_json(path)
    else:
        raise UserError(
            f"{directory} holds no run and no converted checkpoint: neither "
            f"{cards.FILE} nor {path.name} is there"
        )
    if not isinstance(known, Mapping):
        raise UserError(f"{path} holds no configuration")
    _overlay(config, known)
    return config


def _overlay(config: ConfigDict, values: Mapping[str, Any]) -> None:
    """Put a configuration's values, as JSON has them, over one that has defaults."""
    with config.unlocked():
        for key, value in values.items():
            if key in SECTIONS or not isinstance(config.get(key), ConfigDict):
                config[key] = _from_json(value)
            else:
                _overlay(config[key], value)


def _from_json(value: Any) -> Any:
    """Return a value as a configuration file would write it."""
    if isinstance(value, Mapping):
        return ConfigDict({key: _from_json(each) for key, each in value.items()})
    return tuple(map(_from_json, value)) if isinstance(value, list | tuple) else value


def change_name(section: str, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a section's values for another model or source; see the module.

    Raises: UserError for a name that is not there.
    """
    return _complete(section, dict(values), name)[0]


def list_settings(config: ConfigDict | None = None) -> list[Row]:
    """Return every setting of a configuration, or of the default one.

    Raises: UserError for a model or source that is not there.
    """
    plain = completed((config or default_config()).to_dict())
    rows = [
        _row(key, argument, _look_up(plain, key))
        for key, argument in list_arguments(Settings).items()
        if typing.get_origin(argument.type) is not Mapping
    ]
    for section, (key, arguments_of) in SECTIONS.items():
        name = plain[section][key]
        valid = " | ".join(data.names() if section == "data" else models.names())
        default = default_config()[section][key]
        meaning = f"of the {section}; another brings its own arguments"
        rows.append(Row(f"{section}.{key}", valid, default, name, meaning))
        if name == FROM_WEIGHTS:
            continue
        rows += [
            _row(f"{section}.{argument.name}", argument, plain[section][argument.name])
            for argument in arguments_of(name).values()
        ]
    return rows


def default_value(argument: Argument) -> Any:
    """Return what an argument is in a configuration that does not set it."""
    if argument.from_data or argument.default is REQUIRED:
        return None
    if argument.floating:
        return jnp.dtype(argument.default).name
    return argument.default


def _complete(
    section: str, given: dict[str, Any], chosen: str | None
) -> tuple[dict[str, Any], Arguments]:
    """Return the whole section as plain values, and the arguments it is of."""
    key, arguments_of = SECTIONS[section]
    own = given.pop(key, None)
    name = own if chosen is None else chosen
    if not isinstance(name, str):  # said by who reads it
        return {**given, **({} if own is None else {key: own})}, {}
    if name == FROM_WEIGHTS:
        return {key: name, **given}, {}
    try:
        known = arguments_of(name)
    except UserError as error:
        raise UserError(f"config: {section}.{key}: {error}") from error
    another = chosen is not None and chosen != own
    values: dict[str, Any] = {key: name}
    for argument in known.values():
        value = given.get(argument.name)
        fits, fitted = _fit(argument, value)
        kept = value is not None and (fits or not another)
        values[argument.name] = fitted if kept else default_value(argument)
    if not another:  # unknown keys are said by who reads the section
        values |= {k: v for k, v in given.items() if k not in known}
    return values, known


def _fit(argument: Argument, value: Any) -> tuple[bool, Any]:
    """Return whether a value fits, and it as its type has it."""
    try:
        return True, argument.check(value, argument.name)
    except UserError:
        return False, value


def _as_field(argument: Argument, value: Any) -> Any:
    """Return a value with the type that a flag for it is parsed by."""
    kind = _flag_type(argument)
    if value is None:
        return config_dict.placeholder(kind)
    if kind is not object and isinstance(value, kind):
        return value
    return config_dict.FieldReference(value, field_type=object)


def _flag_type(argument: Argument) -> type:
    """Return int, float, str, bool or tuple; object for what may be several of them."""
    if argument.floating:
        return str
    hint = argument.type
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        some = [each for each in typing.get_args(hint) if each is not type(None)]
        hint = some[0] if len(some) == 1 else object
    origin = typing.get_origin(hint)
    if origin is Literal:
        return type(typing.get_args(hint)[0])
    kind = origin or hint
    return kind if kind in (int, float, str, bool, tuple) else object


def _row(key: str, argument: Argument, value: Any) -> Row:
    meaning = argument.meaning
    if argument.from_data:
        meaning = f"{meaning} (from the data)"
    return Row(key, argument.describe_type(), default_value(argument), value, meaning)


def _look_up(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
