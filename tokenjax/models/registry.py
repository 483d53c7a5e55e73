"""Models by name, which anybody may add to.

    from tokenjax import models

    models.register("my_vit", MyViT)                       a class of one's own
    models.register("my_vit_wide", MyViT, embed_dim=768)   a name for some arguments
    models.create("my_vit", depth=4)

A model is a Flax linen module. Its fields are its arguments: each has an annotation, as
`tokenjax.arguments` describes them, and a default.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from tokenjax.arguments import Argument, check_all, describe
from tokenjax.models.checked_module import check_class
from tokenjax.registry import Registry

Presets = Mapping[str, Mapping[str, Any]]  # name -> arguments that it stands for


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A class, and arguments that replace its defaults: what one name stands for."""

    module_class: type[nn.Module]
    preset: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        """Return whether both are one entry, or one whose file was run again."""
        if not isinstance(other, Model):
            return False
        ours, theirs = self.module_class, other.module_class
        if ours is theirs:
            return self.preset == other.preset
        names = (ours.__module__, ours.__qualname__)
        return names == (theirs.__module__, theirs.__qualname__)


MODELS: Registry[Model] = Registry("model")
_ALIASES: dict[str, str] = {}


def register(name: str, module_class: type[nn.Module], **preset: Any) -> None:
    """Add a model.

    Args:
      name: what `create` and configurations call it.
      module_class: see the module's docstring.
      preset: arguments that the name stands for.

    Raises: UserError for a name that another model has, a class that is no model, or a
      preset that does not fit it.
    """
    check_class("model", name, module_class)
    fitted = check_all(preset, module_class, f"argument of {name}", f"{name}: ")
    MODELS.add(name, Model(module_class, fitted))


def register_alias(alias: str, name: str) -> None:
    """Let a second name stand for a registered model.

    Raises: UserError if there is no such model, or the alias is another's name.
    """
    MODELS.add(alias, MODELS[name])
    _ALIASES[alias] = name


def names() -> list[str]:
    """Return every name that `create` knows, sorted, aliases among them."""
    return MODELS.names()


def canonical_name(name: str) -> str:
    """Return the name of which this is an alias, or else the name itself."""
    return _ALIASES.get(name, name)


def arguments(name: str) -> Mapping[str, Argument]:
    """Return the constructor arguments of a model, with the defaults of that name.

    Raises: UserError for an unknown name, listing the valid ones.
    """
    model = MODELS[name]
    return {
        key: dataclasses.replace(argument, default=model.preset[key])
        if key in model.preset
        else argument
        for key, argument in describe(model.module_class).items()
    }


def argument_names(name: str) -> list[str]:
    """Return the names of a model's constructor arguments.

    Raises: UserError for an unknown name, listing the valid ones.
    """
    return list(describe(MODELS[name].module_class))


def defaults(name: str) -> dict[str, Any]:
    """Return a model's constructor arguments as they are if none is given.

    Raises: UserError for an unknown name, listing the valid ones.
    """
    return {key: argument.default for key, argument in arguments(name).items()}


def values(module: Any) -> dict[str, Any]:
    """Return every constructor argument of a network as JSON would have it."""
    found = {}
    for key, argument in describe(type(module)).items():
        value = getattr(module, key)
        found[key] = jnp.dtype(value).name if argument.floating else value
    return found


def create(name: str, **kwargs: Any) -> nn.Module:
    """Build a model; arguments are those of the original PyTorch class and `dtype`.

    Raises: UserError (a ValueError) for an unknown name or argument, listing the valid
    ones and the nearest, and for arguments that do not fit, alone or together.
    """
    model = MODELS[name]
    fitted = check_all(kwargs, model.module_class, f"argument of {name}", f"{name}: ")
    return model.module_class(**{**model.preset, **fitted})
