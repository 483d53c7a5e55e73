"""`python -m tokenjax COMMAND`, which is also the console script `tokenjax`."""

import sys

from tokenjax import command_line, commands
from tokenjax.errors import unknown_name

HELP = ("help", "-h", "--help", "--helpfull")


def main() -> None:
    """Run the command that the first argument names, or list all of them."""
    program, *rest = sys.argv
    if not rest or rest[0] in HELP:
        print(list_commands())
        return
    name = rest[0].replace("-", "_")  # check-device is check_device
    if name not in commands.names():
        command_line.fail(unknown_name("command", rest[0], commands.names()))
    command_line.run(name, [program, *rest[1:]])


def list_commands() -> str:
    """Return how commands are called, and each with what it does."""
    lines = ["tokenjax COMMAND [--flag value ...]", ""]
    for name in commands.names():
        summary = (commands.load(name).__doc__ or "").strip().partition("\n")[0]
        lines.append(f"  {name:18} {summary}")
    return "\n".join([*lines, "", "tokenjax COMMAND --help shows a command's flags."])


if __name__ == "__main__":
    main()
