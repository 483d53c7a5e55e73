"""Flags that take a path, which is resolved when they are parsed."""

from absl import flags

from tokenjax import paths
from tokenjax.errors import BadFlagError, UserError


class PathParser(flags.ArgumentParser):
    """Reads a flag's path; an empty one stands for the command's own choice."""

    syntactic_help = "a path on this machine"

    def __init__(self, flag: str):
        self._flag = flag

    def parse(self, argument: str) -> str:
        """Return the path, resolved.

        Raises: BadFlagError.
        """
        try:
            return str(paths.resolve(argument, f"--{self._flag}")) if argument else ""
        except UserError as error:
            raise BadFlagError(str(error)) from error

    def flag_type(self) -> str:
        return "path"


def define(
    name: str,
    default: str | None,
    meaning: str,
    values: flags.FlagValues,
    required: bool = False,
) -> None:
    """Define a flag whose value is a path, as text; the default is "" or None."""
    flags.DEFINE(
        PathParser(name),
        name,
        default,
        meaning,
        flag_values=values,
        serializer=flags.ArgumentSerializer(),
        required=required,
    )
