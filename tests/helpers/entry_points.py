"""Entry points in the tests' own process: a process of their own takes ten seconds."""

import contextlib
import io
from typing import NamedTuple
from unittest import mock

from tokenjax import command_line, commands


class Finished(NamedTuple):
    """What came of a command; the names are those of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def run_in_process(command: str, *arguments: object) -> Finished:
    """Run `tokenjax COMMAND ARGUMENTS` here, with flags of its own.

    The compilation cache stays the suite's, which keeps more than a user's own does.
    A user's mistake is status 2 and a line on stderr, as it is in a process; any other
    exception is a bug and is raised.
    """
    argv = [f"tokenjax {command}", *map(str, arguments)]
    stdout, stderr = io.StringIO(), io.StringIO()
    status: object = None
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        mock.patch.object(command_line, "enable_compilation_cache"),
    ):
        try:
            command_line.run_here(commands.load(command), argv)
        except SystemExit as exit:
            status = exit.code
    code = status if isinstance(status, int) else int(status is not None)
    return Finished(code, stdout.getvalue(), stderr.getvalue())
