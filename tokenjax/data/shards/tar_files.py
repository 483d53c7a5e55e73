"""Tar files in WebDataset's layout: KEY.jpg beside KEY.cls, KEY.json or KEY.txt.

Members of one example follow one another; its key is the path up to the first dot of
the file's name. The label is what is written in .cls, or in .json under `label_key`, or
in .txt, the first of these that is there: a number, or a name. Nothing is unpacked: an
image is read where it lies.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tokenjax.data.images.image_files import EXTENSIONS
from tokenjax.data.shards.listing import LARGEST_IMAGE, Listing, ListingBuilder
from tokenjax.errors import DatasetError, first_line, shown

ENDINGS = (".tar",)
BLOCK = tarfile.BLOCKSIZE
LONGEST_LABEL = 4096  # bytes of a member that holds one
LABELS = (".cls", ".json", ".txt")


def split_key(name: str) -> tuple[str, str]:
    """Return an example's key and the extension that says what a member is of it."""
    folder, _, file = name.rpartition("/")
    stem, dot, extension = file.partition(".")
    return f"{folder}/{stem}", (dot + extension).lower()


def list_tar(path: Path, label_key: str) -> Listing:
    """List a shard's examples.

    Raises: DatasetError, naming shard and member, for a tar file that is damaged or
      cut, and for an image without a label or with two of a kind.
    """
    builder = ListingBuilder()
    seen: set[str] = set()
    try:
        with open(path, "rb") as file:
            for key, members in _examples(file, path):
                _add(builder, file, path, key, members, label_key, seen)
    except OSError as error:
        raise DatasetError(
            f"{shown(path)} cannot be opened: {error.strerror}"
        ) from error
    return builder.finish()


def _examples(
    file: BinaryIO, path: Path
) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield the members of each example by extension."""
    key, members = "", dict[str, tarfile.TarInfo]()
    for member in _members(file, path):
        own, extension = split_key(member.name)
        if own != key and members:
            yield key, members
            members = {}
        key = own
        if extension in members:
            raise DatasetError(
                f"{shown(path)} has the member {shown(member.name)} twice"
            )
        members[extension] = member
    if members:
        yield key, members


def _members(file: BinaryIO, path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the files in a tar file; its end must be marked, or it was cut."""
    last = "its start"
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                last = member.name
                if member.offset_data + member.size > os.fstat(file.fileno()).st_size:
                    raise tarfile.ReadError("it ends within its content")
                if member.isreg() and not member.issparse():
                    yield member
            # A damaged header later than the first ends the walk in silence.
            file.seek(archive.offset)
            if file.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError("neither a member nor the mark of its end")
    except tarfile.TarError as error:
        raise DatasetError(
            f"{shown(path)} is no whole tar file: {first_line(error)}, at or after "
            f"{shown(last)}; it may have been cut, or be compressed (shards are read "
            "in place: plain .tar)"
        ) from error


def _add(
    builder: ListingBuilder,
    file: BinaryIO,
    path: Path,
    key: str,
    members: dict[str, tarfile.TarInfo],
    label_key: str,
    seen: set[str],
) -> None:
    images = [members[extension] for extension in members if extension in EXTENSIONS]
    if not images:
        builder.skipped += len(members)
        return
    image = images[0]
    if len(images) > 1 or key in seen:
        raise DatasetError(
            f"{shown(path)} has more than one image of the name {shown(image.name)}; "
            "an example's members lie beside one another and have one image"
        )
    seen.add(key)
    if image.size > LARGEST_IMAGE:
        raise DatasetError(f"{shown(path)}: {shown(image.name)} has 4 GiB or more")
    label = _find_label(file, path, members, label_key)
    if label is None:
        raise DatasetError(
            f"{shown(path)}: {shown(image.name)} has no label beside it: .cls, .json "
            f"with {label_key!r}, or .txt"
        )
    builder.add(image.name, image.offset_data, image.size, label)


def _find_label(
    file: BinaryIO,
    path: Path,
    members: dict[str, tarfile.TarInfo],
    label_key: str,
) -> str | None:
    """Return the label as it is written; None if there is none."""
    for extension in LABELS:
        member = members.get(extension)
        if member is None:
            continue
        file.seek(member.offset_data)
        content = file.read(member.size)
        try:
            text = content.decode().strip()
            if extension == ".json":
                found = json.loads(text)
                if not isinstance(found, dict) or label_key not in found:
                    continue
                text = read_label(found[label_key])
            if text and len(text) <= LONGEST_LABEL and text.isprintable():
                return text
        except (ValueError, RecursionError):
            pass
        raise DatasetError(
            f"{shown(path)}: {shown(member.name)} holds no label: a number or a name"
        )
    return None


def read_label(value: object) -> str:
    """Return a label of a JSON file as text.

    Raises: ValueError for what is neither a whole number nor a name.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("neither a whole number nor a name")
    return str(value).strip()


def name_at(path: Path, offset: int) -> str:
    """Return the name of the member whose content begins at `offset`."""
    with open(path, "rb") as file:
        file.seek(offset - BLOCK)
        header = file.read(BLOCK)
    return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name
