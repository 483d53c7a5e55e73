"""Run a file of a user's own as Python would, and tell what goes wrong in it."""

import contextlib
import os
import pathlib
import sys
import traceback
from collections.abc import Iterator

from tokenjax.errors import UserError, shown


@contextlib.contextmanager
def searched_first(folder: str | os.PathLike) -> Iterator[None]:
    """Let the folder lead `sys.path`, as a script's own folder does."""
    path = str(pathlib.Path(folder).resolve())
    sys.path.insert(0, path)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the code may have removed it itself
            sys.path.remove(path)


def told(error: BaseException, file: str) -> str:
    """Return the error's kind and first line, and the file's last line on its way.

    A `UserError` is a sentence already, and needs no kind.
    """
    message = str(error).strip().partition("\n")[0]
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    if isinstance(error, SyntaxError):
        message, lines = error.msg, [error.lineno]
    where = f" (line {lines[-1]})" if lines and lines[-1] else ""
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{shown(message)}{where}"
