"""Caches: what is kept there saves time, and no run may end for want of them.

A user may have no home directory (a container's, without an entry in /etc/passwd), or
one that cannot be written, or is full.

What jax reads from its cache runs as code: a place that others can write to is not
used. XLA's own caches lie beside the programs, the results of trying out kernels on a
GPU among them. They know neither XLA's version nor, all of them, the device; so our own
place is one for each version of jaxlib and kind of device.
"""

import glob
import importlib.metadata
import os
import pathlib
import re
import stat
import sys
import tempfile
from typing import Any

from tokenjax import allocator

_PROBE = bytes(1 << 16)
ABOUT_DEVICES = "/proc/driver/nvidia/gpus/*/information"
# A program is kept if it took so long to compile. Reading one takes milliseconds; on an
# accelerator the small ones, a second's tenth each, are seconds of a start.
SECONDS_ON_CPU, SECONDS_ON_ACCELERATOR = 0.5, 0.05


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
    cache = pathlib.Path(given) if given else find_own("jax", _versions())
    if cache is None:
        return None
    reason = _why_unusable(cache) or _why_untrusted(cache)
    if reason is None:
        return str(cache)
    print(
        f"warning: {cache} keeps no compiled programs ({reason}): every start compiles "
        "its own; JAX_COMPILATION_CACHE_DIR names another place",
        file=sys.stderr,
    )
    return None


def settings(own: bool) -> dict[str, Any]:
    """Return jax's settings for the cache, but for those that the user's variables set.

    Args:
      own: whether the cache lies in our own place; of XLA's caches one would mix up
        devices that share another.
    """
    fast = not allocator.has_accelerator()
    seconds = SECONDS_ON_CPU if fast else SECONDS_ON_ACCELERATOR
    found: dict[str, Any] = {"jax_persistent_cache_min_compile_time_secs": seconds}
    if own:
        found["jax_persistent_cache_enable_xla_caches"] = "all"
    return {
        name: value for name, value in found.items() if name.upper() not in os.environ
    }


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


def _versions() -> str:
    """Return the name of our place for this jaxlib and these devices; starts no jax."""
    words = [importlib.metadata.version("jaxlib")]
    if allocator.has_nvidia():
        texts = [pathlib.Path(path).read_text() for path in glob.glob(ABOUT_DEVICES)]
        models = {m[1] for m in re.finditer(r"Model:\s*(.+)", "\n".join(texts))}
        words += sorted(models) or ["NVIDIA"]
    return "-".join(re.sub(r"[^\w.]+", "_", word.strip()) for word in words)


def _why_untrusted(directory: pathlib.Path) -> str | None:
    """Return why what lies in a directory may be another's; None if it is ours alone.

    Who is root may use what belongs to others: so it is in containers.
    """
    if not hasattr(os, "getuid"):  # not a system with such owners
        return None
    found = directory.stat()
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return (
            "others can write there, and what is read from it runs as code; "
            f"`chmod go-w {directory}` if nobody has"
        )
    if os.getuid() not in (0, found.st_uid) and found.st_uid != 0:
        return "it belongs to another user, and what is read from it runs as code"
    return None


def _why_unusable(directory: pathlib.Path) -> str | None:
    """Make a directory; return why nothing can be written there, None if it can."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(_PROBE)
            file.flush()
    except OSError as error:
        return error.strerror
    return None
