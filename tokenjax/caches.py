"""Caches: what is kept there saves time, and no run may end for want of them.

A user may have no home directory (a container's, without an entry in /etc/passwd), or
one that cannot be written, or is full.
"""

import os
import pathlib
import sys
import tempfile

_PROBE = bytes(1 << 16)


def settle() -> None:
    """Give Keras, which TensorFlow brings, another place where there is no home.

    It would make a directory named "~" where it was started. Matplotlib and TFDS see
    to themselves.
    """
    home = os.path.expanduser("~")
    if home == "~" or not os.path.isdir(home):
        elsewhere = os.path.join(tempfile.gettempdir(), "keras")
        os.environ.setdefault("KERAS_HOME", elsewhere)


def find_compilation_cache(given: str | None) -> str | None:
    """Return the directory of JAX's compiled programs; None for none, and say so.

    Args:
      given: by the user, who may name a bucket as well; else it lies in XDG_CACHE_HOME
        or ~/.cache.
    """
    if given and "://" in given:
        return given
    cache = pathlib.Path(given) if given else find_own("jax")
    if cache is None:
        return None
    reason = _why_unusable(cache)
    if reason is None:
        return str(cache)
    print(
        f"warning: {cache} keeps no compiled programs ({reason}): every start compiles "
        "its own; JAX_COMPILATION_CACHE_DIR names another place",
        file=sys.stderr,
    )
    return None


def find_own(*parts: str) -> pathlib.Path | None:
    """Return a place of ours in XDG_CACHE_HOME or ~/.cache; None without a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        try:
            home = pathlib.Path.home()
        except RuntimeError:
            return None
        if not home.is_dir():
            return None
        base = str(home / ".cache")
    return pathlib.Path(base, "tokenjax", *parts)


def _why_unusable(directory: pathlib.Path) -> str | None:
    """Make a directory; return why nothing can be written there, None if it can."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(_PROBE)
            file.flush()
    except OSError as error:
        return error.strerror
    return None
