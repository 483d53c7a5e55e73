"""Writing shards: from a data source's images, or a folder's files as they are.

Every image's file goes in whole, with the name of its class as label; classes.txt has
them in order. A shard is written under another name and renamed.
"""

import io
import itertools
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tokenjax import storage
from tokenjax.data.shards.class_order import CLASSES_FILE
from tokenjax.data.shards.record_files import encode_record
from tokenjax.errors import DatasetError, shown

ENDINGS = {"tar": ".tar", "array_record": ".array_record"}
BYTES = 2**28  # of a shard, unless told: a thousand or two of photos


class Example(NamedTuple):
    """One image: its file's ending (".jpg"), what is in it, and its class's name."""

    ending: str
    content: bytes
    label: str


def write_classes(directory: Path, names: Iterable[str]) -> None:
    """Write the names of the classes, in order.

    Raises: DatasetError for a name that does not fit a line.
    """
    names = list(names)
    for name in names:
        if not name.isprintable() or name != name.strip() or not name:
            raise DatasetError(f"the class {name!r} cannot be written to a line")
    storage.write_text(directory / CLASSES_FILE, "\n".join(names) + "\n")


def write_part(
    directory: Path, part: str, kind: str, examples: Iterable[Example], shard_bytes: int
) -> list[Path]:
    """Write PART-0000.tar, ... (or .array_record); return their paths.

    A shard is closed when it has `shard_bytes` or more.
    """
    paths: list[Path] = []
    waiting = iter(examples)
    number = 0
    while (first := next(waiting, None)) is not None:
        path = directory / f"{part}-{len(paths):04d}{ENDINGS[kind]}"
        write = _write_tar if kind == "tar" else _write_records
        with storage.replacing(path) as temporary:
            # A generator here, closed at a shard's end, would close what it reads.
            some = itertools.chain([first], waiting)
            number = write(temporary, some, number, shard_bytes)
        paths.append(path)
    return paths


def _write_tar(
    path: Path, examples: Iterator[Example], number: int, shard_bytes: int
) -> int:
    """Write examples until there are enough bytes; return the next one's number."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for example in examples:
            key = f"{number:09d}"
            _add(archive, key + example.ending, example.content)
            _add(archive, key + ".cls", example.label.encode())
            number += 1
            if archive.offset >= shard_bytes:
                break
    return number


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner and time stay 0: the same bytes every time
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _write_records(
    path: Path, examples: Iterator[Example], number: int, shard_bytes: int
) -> int:
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise DatasetError(
            "array_record files are written with array_record, which is not "
            "installed: pip install array_record"
        ) from error
    # One record a group: read at random, no other one is decompressed with it.
    writer = array_record_module.ArrayRecordWriter(
        str(path), "group_size:1,uncompressed"
    )
    written = 0
    try:
        for example in examples:
            name = f"{number:09d}{example.ending}"
            record = encode_record(name, example.label, example.content)
            writer.write(record)
            number, written = number + 1, written + len(record)
            if written >= shard_bytes:
                break
    finally:
        writer.close()
    if not path.stat().st_size:
        raise DatasetError(f"{shown(path)} could not be written")
    return number
