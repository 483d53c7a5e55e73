"""What `--help` prints of a command: its examples, then its own flags."""

import inspect
import textwrap
from collections.abc import Sequence

from absl import flags

from tokenjax import command_files, plugins

OWN = ("--help", "-help", "-h", "-?", "--helpshort")
ALL = "--helpfull"
WIDTH = 88
REPEATED = "repeat this option"  # what absl adds to such a flag's help


def is_asked_for(argv: Sequence[str]) -> bool:
    """Return whether one of the arguments asks for help."""
    given = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    return any(argument in (*OWN, ALL) for argument in given)


def describe(command: command_files.Command, argv: Sequence[str]) -> str:
    """Return the command's examples and its own flags; with --helpfull all others."""
    values = flags.FlagValues()
    command.define_flags(argv, values)
    plugins.define_flag(values)
    own = [name for name in values if not name.startswith(("config.", "model."))]
    parts = [inspect.cleandoc(command.__doc__ or ""), ""]
    if command_files.arguments(command):
        parts += [f"Takes: {command_files.arguments(command)}", ""]
    parts += ["Flags:", *(_line(values[name]) for name in own)]
    if ALL in argv:
        parts += ["", flags.FLAGS.get_help()]
    return "\n".join(parts)


def _line(flag: flags.Flag) -> str:
    """Return a flag, what it means and its default."""
    text, several, _ = (flag.help or "").partition(REPEATED)
    text = text.rstrip(";\n ") + ("; may be repeated" if several else "")
    if flag.default not in (None, "", [], False):
        text += f" (default: {(flag.default_as_str or '').strip(chr(39))})"
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    return textwrap.fill(f"  {name:<18} {text}", WIDTH, subsequent_indent=" " * 21)
