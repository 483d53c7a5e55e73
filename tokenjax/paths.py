"""Paths as users give them, resolved once, where they enter.

Orbax, TensorFlow and the system read `..`, `~`, links and `gs://` each in its own way;
what `resolve` returns all of them read alike.
"""

import os
import pathlib
import re
import sys

from tokenjax.errors import UserError, shown

# "gs://bucket", and what pathlib makes of it: "gs:/bucket".
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(gs|s3|https?|hdfs|hf|file):/")


def resolve(given: str | os.PathLike[str], what: str) -> pathlib.Path:
    """Return a path that a user gave: absolute, without `~`, `..` and links.

    Args:
      given: relative to the current directory, or absolute; need not exist.
      what: what messages call it: "--workdir".

    Raises: UserError for an address (`gs://...`), and for what can be no path here.
    """
    text = os.fspath(given)
    reason = _find_fault(text)
    if reason is None:
        try:
            path = pathlib.Path(text).expanduser().resolve()
            path.exists()  # a name that is too long, or a way that is barred
            return path
        except FileNotFoundError:
            reason = "it is relative, and the current directory is gone"
        except RuntimeError as error:  # pathlib's, of links and of homes
            circle = "symlink" in str(error).lower()
            reason = (
                "the links lead in a circle" if circle else "no such home directory"
            )
        except OSError as error:
            reason = str(error.strerror)
    raise UserError(f"{what} {shown(text)}: {reason}")


def _find_fault(text: str) -> str | None:
    """Return why a text is no path on this machine, None if it may be one."""
    if _REMOTE.match(text):
        return (
            "an address, where a path on this machine is due; mount that place, and "
            "name where it is mounted"
        )
    if "\0" in text:
        return "it holds a zero byte, as no path does"
    # Python's own functions take bytes that are no text; those of C++ take UTF-8.
    try:
        alike = os.fsencode(text) == text.encode()
    except UnicodeError:
        alike = False
    if alike:
        return None
    if sys.getfilesystemencoding() == "utf-8":
        return "its name is no UTF-8; give it another one"
    return "it cannot be read in this locale; set PYTHONUTF8=1 in the environment"
