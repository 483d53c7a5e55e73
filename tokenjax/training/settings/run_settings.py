"""The settings of a run, read from a configuration and checked.

`default_config()` is where a file in `configs/` starts; `Settings.from_config` checks
what the user made of it. What `model` and `data` hold is checked by who reads them:
`models.create` and `data.load`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tokenjax.arguments import (
    Argument,
    describe,
)
from tokenjax.errors import UserError, unknown_name
from tokenjax.plain_values import check_plain
from tokenjax.training.settings.fields import LARGEST_COUNT, Fields
from tokenjax.training.settings.relations import find_contradictions


@dataclasses.dataclass(frozen=True)
class Settings(Fields):
    """A run."""

    @classmethod
    def from_config(cls, config: Any) -> "Settings":
        """Read a ConfigDict or a dict.

        Raises: UserError for an unknown key or a value out of range.
        """
        config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        check_plain(config)
        settings = _read(cls, config, "")
        for sentence in find_contradictions(settings):
            raise UserError(f"config: {sentence}")
        return settings

    def total_steps(self, num_examples: int) -> int:
        """Return the optimiser steps of the run.

        Raises: UserError for more than can be counted.
        """
        steps = self.steps or max(1, self.in_steps(self.epochs, num_examples))
        if not self.steps and steps >= LARGEST_COUNT:
            raise UserError(
                f"config: {self.epochs:g} epochs are {LARGEST_COUNT} steps or more"
            )
        return steps

    def in_steps(self, epochs: float, num_examples: int) -> int:
        """Return epochs as a whole number of optimiser steps."""
        return round(min(epochs * num_examples / self.batch_size, LARGEST_COUNT))


def list_arguments(target: Any = Settings, prefix: str = "") -> dict[str, Argument]:
    """Return every setting by its whole key: {"optimizer.name": Argument, ...}.

    What a section says of itself (`FREE`) holds for all that is in it. The arguments of
    `model` and `data` are not among them: they are the model's and the source's.
    """
    found: dict[str, Argument] = {}
    for name, argument in describe(target).items():
        if argument.is_section:
            inner = list_arguments(argument.type, f"{prefix}{name}.")
            if argument.free:
                inner = {
                    key: dataclasses.replace(each, free=True)
                    for key, each in inner.items()
                }
            found |= inner
        else:
            found[prefix + name] = argument
    return found


def default_config() -> Any:
    """Return the defaults as an ml_collections ConfigDict, for a file to change."""
    import ml_collections

    return ml_collections.ConfigDict(dataclasses.asdict(Settings()))


def select_variant(variants: Mapping[str, Callable[[], Any]], name: str) -> Any:
    """Return the configuration of that name.

    Raises: UserError for an unknown name, listing the valid ones.
    """
    if name not in variants:
        raise UserError(unknown_name("variant", name, variants))
    return variants[name]()


def _read(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    """Return a settings class filled in; a section is a settings class of its own."""
    known = describe(cls)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            kind = f"configuration key{f' in {where}' if where else ''}"
            raise UserError(unknown_name(kind, key, known))
        argument, name = known[key], f"{where}.{key}".lstrip(".")
        if not argument.is_section:
            arguments[key] = argument.check(value, f"config: {name}")
        elif isinstance(value, Mapping):
            arguments[key] = _read(argument.type, value, name)
        else:
            raise UserError(f"config: {name} must be a section, got {value!r}")
    return cls(**arguments)
