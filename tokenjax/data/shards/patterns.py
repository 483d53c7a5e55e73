"""Names of shards: "train-{0000..0146}.tar", "val-*.tar", and the files they name.

{0000..0146}   numbers, as many digits as the first has
{a,b}          alternatives
* ? [...]      as a shell has them, among the files that are there
"""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tokenjax.data.images.image_files import abridged
from tokenjax.errors import DatasetError, shown

_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"(\d+)\.\.(\d+)")
MOST_SHARDS = 10**6


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern's braces stand for, in order.

    Raises: DatasetError for braces that are neither numbers nor alternatives.
    """
    found = _BRACES.search(pattern)
    if found is None:
        if "{" in pattern or "}" in pattern:
            raise _wrong_braces(pattern)
        yield pattern
        return
    inside = found[1]
    numbers = _NUMBERS.fullmatch(inside)
    if numbers is not None:
        first, last = int(numbers[1]), int(numbers[2])
        if not 0 <= last - first < MOST_SHARDS:
            raise _wrong_braces(pattern)
        pieces = [f"{n:0{len(numbers[1])}d}" for n in range(first, last + 1)]
    elif "," in inside:
        pieces = inside.split(",")
    else:
        raise _wrong_braces(pattern)
    for piece in pieces:
        for rest in expand_braces(pattern[found.end() :]):
            yield pattern[: found.start()] + piece + rest


def _wrong_braces(pattern: str) -> DatasetError:
    return DatasetError(
        f"the pattern {shown(pattern)} has braces that are neither numbers from the "
        "lower to the higher, as in {0000..0146}, nor alternatives, as in {a,b}"
    )


def find_shards(directory: Path, pattern: str) -> list[str]:
    """Return the files that a pattern names, relative to `directory`, in order.

    Raises: DatasetError for a pattern that names none, and for a name without a file.
    """
    found: list[str] = []
    missing: list[str] = []
    for name in expand_braces(pattern):
        if glob.has_magic(name):
            some = sorted(glob.glob(name, root_dir=directory))
        else:
            some = [name] if (directory / name).is_file() else []
        found += some
        if not some:
            missing.append(shown(name))
    if missing:
        raise DatasetError(
            f"{shown(directory)} has no shards of the name {abridged(missing, ', ')}"
        )
    return list(dict.fromkeys(found))


def list_shards(directory: Path, endings: tuple[str, ...]) -> list[str]:
    """Return the names of all files right in `directory` that have one of `endings`.

    Raises: DatasetError if it cannot be listed.
    """
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise DatasetError(
            f"{shown(directory)} cannot be listed: {error.strerror}"
        ) from error
    return [name for name in names if has_ending(name, endings)]


def has_ending(name: str, endings: tuple[str, ...]) -> bool:
    """Return whether a file's name ends so; TFDS adds the shard's number after it."""
    plain = re.sub(r"-\d{5}-of-\d{5}$", "", name)
    return not name.startswith(".") and plain.endswith(endings)
