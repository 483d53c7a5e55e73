"""The commands by name: each is a file in `tokenjax.commands`, which says how."""

import importlib
import pathlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast

from absl import flags

PACKAGE = "tokenjax.commands"
FOLDER = pathlib.Path(__file__).parent / "commands"


class Command(Protocol):
    """What a file of this folder holds."""

    __doc__: str | None

    def define_flags(self, argv: Sequence[str], values: flags.FlagValues) -> None:
        """Define the command's own flags."""

    def main(self, argv: Sequence[str], values: flags.FlagValues) -> None:
        """Do what the parsed flags ask for.

        Raises: UserError for whatever a user can mend.
        """


def computes(command: Command) -> bool:
    """Return what a command says of itself by `COMPUTES`, or else True."""
    return bool(getattr(command, "COMPUTES", True))


def is_brief(command: Command) -> bool:
    """Return what a command says of itself by `BRIEF`, or else False.

    Of a brief one the first line is the result.
    """
    return bool(getattr(command, "BRIEF", False))


def complete(command: Command, argv: Sequence[str]) -> list[str]:
    """Return a command line with what the command's `complete_arguments` adds to it."""
    add = getattr(command, "complete_arguments", list)
    return list(add(argv))


def arguments(command: Command) -> str:
    """Return what a command takes besides flags, as its `ARGUMENTS` has it; or ""."""
    return str(getattr(command, "ARGUMENTS", ""))


def names() -> list[str]:
    """Return every command's name, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]))


def load(name: str) -> Command:
    """Import the command of that name, which must be one of `names()`."""
    return cast(Command, importlib.import_module(f"{PACKAGE}.{name}"))
