"""What a split is made of, told without its place: names of files, or the pixels.

A run remembers the digest of each of its splits. Where the same pictures lie, and how
they are read, changes nothing of it; a picture added, gone, replaced or in another
class does.

    digest = sha256 of, example by example, name, bytes of its file, label

and for a split without names sha256 of its arrays (or, where there are none in memory,
of its labels).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, eq=False)
class Identity:
    """What the examples of a split are called, and what tells whether one changed.

    `names` (n,) are relative to the source: "train/cat/001.png"; `sizes` (n,) are the
    files' bytes, None where there are no files.
    """

    names: Sequence[str]
    sizes: np.ndarray | None = None


@runtime_checkable
class Identified(Protocol):
    """A split that knows what its examples are, in whatever way."""

    def example_names(self) -> Sequence[str] | None:
        """Return a name for every example, None if they have none."""

    def digest(self) -> str:
        """Return a digest, in hexadecimal, of the examples in their order."""


def identify_files(root: Path, paths: Sequence[Path]) -> Identity:
    """Return the identity of files below `root`."""
    names = [path.relative_to(root).as_posix() for path in paths]
    sizes = np.array([path.stat().st_size for path in paths], np.int64)
    return Identity(names, sizes)


def digest_names(identity: Identity, labels: np.ndarray) -> str:
    """Return the digest of named examples with their labels (n,)."""
    found = hashlib.sha256(b"names")
    for row, name in enumerate(identity.names):
        size = "" if identity.sizes is None else int(identity.sizes[row])
        line = f"{name}\t{size}\t{int(labels[row])}\n"
        found.update(line.encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def digest_arrays(*arrays: np.ndarray) -> str:
    """Return the digest of arrays, their shapes and types."""
    found = hashlib.sha256(b"arrays")
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
