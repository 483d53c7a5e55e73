"""Telling what a file of weights is by what is in it; its name may say anything."""

import pathlib
import pickle
import zipfile
from typing import Literal

from tokenjax.errors import ConversionError, shown

Format = Literal["safetensors", "zip", "index", "pickle"]

# What people have instead of weights: how it begins, and what to do.
_NO_WEIGHTS = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer: fetch the file that it stands for",
    ),
    (b"<!DOCTYPE", "a web page, not the file that was to be downloaded"),
    (b"<html", "a web page, not the file that was to be downloaded"),
    (b"\x1f\x8b", "compressed (gzip): unpack it first"),
    (b"\xfd7zXZ", "compressed (xz): unpack it first"),
    (b"\x89HDF", "an HDF5 file: save the weights as .safetensors or .pth"),
)
_HEAD = 512
_TAR_MAGIC = slice(257, 262)


def tell_format(path: pathlib.Path) -> Format:
    """Return the format of a file: the one it begins as.

    What begins as none is a damaged .safetensors file if it is named so, else a pickle.

    Raises: ConversionError for what is well known and holds no weights by key.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if _begins_safetensors(head, path.stat().st_size):
        return "safetensors"
    if _is_zip(path):
        return "zip"
    for beginning, what in _NO_WEIGHTS:
        if head.startswith(beginning):
            raise ConversionError(f"{shown(path)}: it is {what}")
    if head[_TAR_MAGIC] == b"ustar":
        raise ConversionError(f"{shown(path)}: it is a tar archive: unpack it first")
    if head[:1] == pickle.PROTO and head[1:2] <= bytes([pickle.HIGHEST_PROTOCOL]):
        return "pickle"
    if path.suffix.lower() == ".safetensors":
        return "safetensors"
    return "index" if head.lstrip().startswith(b"{") else "pickle"


def _begins_safetensors(head: bytes, size: int) -> bool:
    """Return whether a length comes first, and then that much JSON."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= size - 8


def _is_zip(path: pathlib.Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one, but in several parts: `zip_files.check` tells
        return True
