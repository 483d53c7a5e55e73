"""XLA's flags for NVIDIA GPUs, set before jax starts.

A program there is compiled anew for its card: XLA times many ways to do each product
and each fusion, and that is most of the wait for a first result. `FLAGS` says which of
XLA's settings differ here from its own, and why; each must have been measured.

They are added to XLA_FLAGS where there is an NVIDIA device, and only those that the
user has not set there. A flag that XLA does not know ends the process, without an
exception to catch; so the libraries that will read the flags are searched for its name,
which takes milliseconds where it is found.
"""

import importlib.util
import mmap
import os
import pathlib
import re
import sys
from typing import NamedTuple

from tokenjax import allocator

VARIABLE = "XLA_FLAGS"
ADDED = "TOKENJAX_XLA_FLAGS"  # what was added, until it is said
# In the directory of a package: the libraries that read the variable, each its own.
LIBRARIES = (("jaxlib", "libjax_common.so"), ("jax_plugins", "*/xla_cuda_plugin.so"))


class Flag(NamedTuple):
    """One of XLA's settings: its name without dashes, the value, and what it buys."""

    name: str
    value: str
    why: str


FLAGS: tuple[Flag, ...] = ()


def settle() -> None:
    """Add `FLAGS` to XLA_FLAGS where an NVIDIA device computes."""
    if not FLAGS or not allocator.has_nvidia():
        return
    given = os.environ.get(VARIABLE, "")
    added = choose(given)
    if not added:
        return
    words = " ".join(f"--{flag.name}={flag.value}" for flag in added)
    os.environ[VARIABLE] = f"{given} {words}".strip()
    os.environ[ADDED] = words


def say_if_added() -> None:
    """Print, once, which flags were added."""
    words = os.environ.pop(ADDED, None)
    if words:
        text = f"set for the GPU: {words} ({VARIABLE}; see docs/measure.md)"
        print(text, file=sys.stderr, flush=True)


def choose(given: str) -> list[Flag]:
    """Return those of `FLAGS` that XLA knows and that `given` does not set.

    Args:
      given: what XLA_FLAGS holds; the name of a file of flags is all the user's.
    """
    if given.strip() and not given.lstrip().startswith("-"):
        return []
    theirs = set(re.findall(r"--?(\w+)", given))
    mine = [flag for flag in FLAGS if flag.name not in theirs]
    found = libraries() if mine else []
    return [
        flag for flag in mine if found and all(knows(each, flag.name) for each in found)
    ]


def libraries() -> list[pathlib.Path]:
    """Return the libraries of jax here that read XLA_FLAGS; imports none of them."""
    found: list[pathlib.Path] = []
    for package, pattern in LIBRARIES:
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            found += sorted(pathlib.Path(place).glob(pattern))
    return found


def knows(library: pathlib.Path, name: str) -> bool:
    """Return whether a library has a flag of that name: a string that ends so."""
    try:
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            return text.find(name.encode() + b"\0") >= 0
    except (OSError, ValueError):  # not to be read, or empty
        return False
