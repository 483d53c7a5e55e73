"""The commands of `tokenjax`, one file each; a file here is a command, by its name.

The file's docstring is the command's `--help`: a line that says what it does, then
examples. Its functions do the rest, and import what is heavy when they are called:

    def define_flags(argv, values): ...   # the command's own flags, into `values`
    def main(argv, values): ...           # does it; raises UserError

`argv` is the command line as it was given, the program first.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast

from absl import flags


class Command(Protocol):
    """What a file of this folder holds."""

    __doc__: str | None

    def define_flags(self, argv: Sequence[str], values: flags.FlagValues) -> None:
        """Define the command's own flags."""

    def main(self, argv: Sequence[str], values: flags.FlagValues) -> None:
        """Do what the parsed flags ask for.

        Raises: UserError for whatever a user can mend.
        """


def names() -> list[str]:
    """Return every command's name, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Command:
    """Import the command of that name, which must be one of `names()`."""
    return cast(Command, importlib.import_module(f"{__name__}.{name}"))
