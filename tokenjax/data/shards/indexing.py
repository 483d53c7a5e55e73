"""Making an index: every shard is walked once, by several processes if there are many.

Memory is that of one shard's list at a time.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from tokenjax.data.images.image_files import abridged
from tokenjax.data.shards import record_files, tar_files
from tokenjax.data.shards.class_order import CLASSES_FILE, MOST_CLASSES, order_classes
from tokenjax.data.shards.index_places import writing
from tokenjax.data.shards.listing import Listing
from tokenjax.data.shards.shard_index import (
    ENTRIES_FILE,
    ENTRY,
    FORMAT,
    INDEX_FILE,
    ShardIndex,
    Sizes,
    digest_sizes,
    open_index,
)
from tokenjax.data.threads import thread_count
from tokenjax.errors import DatasetError, shown

ALONE = 2**28  # bytes of shards that one process lists by itself
STATS_AT_ONCE = 32  # sizes asked of a file system that may be far away
CHUNK = 2**20  # entries
RAW_FILE = "raw"  # entries before all labels are known


def measure(directory: Path, names: list[str]) -> Sizes:
    """Return the bytes of each shard.

    Raises: DatasetError for those that cannot be looked at.
    """

    def size(name: str) -> int | str:
        try:
            return (directory / name).stat().st_size
        except OSError as error:
            return f"{shown(directory / name)} cannot be opened: {error.strerror}"

    with ThreadPoolExecutor(STATS_AT_ONCE) as pool:
        found = dict(zip(names, pool.map(size, names), strict=True))
    problems = [each for each in found.values() if isinstance(each, str)]
    if problems:
        raise DatasetError(abridged(problems))
    return {name: each for name, each in found.items() if isinstance(each, int)}


def find_or_make(
    folder: Path,
    directory: Path,
    kind: str,
    parts: dict[str, Sizes],
    label_key: str,
    say: Callable[[str], None],
) -> ShardIndex:
    """Return the index of these shards; make it in `folder` if it is not there.

    Raises: DatasetError for shards that are damaged or hold no labels, and if nothing
      can be written.
    """
    place = folder / digest_sizes(kind, parts, label_key)[:32]
    if not (place / INDEX_FILE).exists():
        with writing(place) as temporary:
            _make(temporary, directory, kind, parts, label_key, say)
    return open_index(place, directory)


def _make(
    temporary: Path,
    directory: Path,
    kind: str,
    parts: dict[str, Sizes],
    label_key: str,
    say: Callable[[str], None],
) -> None:
    names = [name for sizes in parts.values() for name in sizes]
    size = sum(sum(sizes.values()) for sizes in parts.values())
    listings = _list_all(directory, names, kind, label_key, size)
    about = {"kind": kind, "label_key": label_key}
    skipped = write_index(temporary, directory, parts, listings, about)
    if skipped:
        say(f"{skipped} members of the shards belong to no image and are passed over")


def write_index(
    place: Path,
    directory: Path,
    parts: dict[str, Sizes],
    listings: Iterable[Listing],
    about: dict[str, str],
) -> int:
    """Write the index of listed shards into a folder; return the members passed over.

    Args:
      place: the folder, which exists.
      directory: of the shards, where a `classes.txt` may be.
      parts: the shards' sizes by name, by part.
      listings: of the shards in that order.
      about: what else the index says of itself.

    Raises: DatasetError for labels that are no classes, and if there are no images.
    """
    vocabulary: dict[str, int] = {}
    examples, digests, skipped = [], [], 0
    with open(place / RAW_FILE, "wb") as file:
        for listing in listings:
            codes = [
                vocabulary.setdefault(label, len(vocabulary))
                for label in listing.vocabulary
            ]
            if len(vocabulary) > MOST_CLASSES:
                raise DatasetError(
                    f"the shards in {shown(directory)} have more than {MOST_CLASSES} "
                    "different labels: no classes, captions perhaps"
                )
            entries = np.empty(len(listing.codes), ENTRY)
            entries["offset"], entries["length"] = listing.offsets, listing.lengths
            entries["label"] = np.array(codes, np.int32)[listing.codes]
            file.write(entries.tobytes())
            examples.append(len(entries))
            digests.append(listing.digest)
            skipped += listing.skipped
    if not sum(examples):
        raise DatasetError(f"the shards in {shown(directory)} hold no images")
    class_names, numbers = order_classes(vocabulary, directory / CLASSES_FILE)
    described = _finish(place, parts, examples, digests, class_names, numbers)
    text = json.dumps({"format": FORMAT, **about, **described})
    (place / INDEX_FILE).write_text(text, encoding="utf-8")
    return skipped


def _list_all(
    directory: Path, names: list[str], kind: str, label_key: str, size: int
) -> Iterator[Listing]:
    from tqdm import tqdm

    read = partial(_list, kind, label_key)
    paths = [directory / name for name in names]
    bar = partial(tqdm, total=len(names), desc="indexing", unit="shard", delay=1)
    workers = min(thread_count(0), len(names))
    if size <= ALONE or workers == 1:
        yield from bar(map(read, paths), leave=False)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from bar(pool.map(read, paths), leave=False)


def _list(kind: str, label_key: str, path: Path) -> Listing:
    if kind == "tar":
        return tar_files.list_tar(path, label_key)
    return record_files.list_records(path)


def _finish(
    place: Path,
    parts: dict[str, Sizes],
    examples: list[int],
    digests: list[str],
    class_names: list[str],
    numbers: np.ndarray,
) -> dict[str, object]:
    """Write the columns as arrays, and return what is to be known of the index."""
    _write_entries(place, numbers)
    starts = np.cumsum([0, *examples])
    first, described, shards = 0, {}, []
    for part, sizes in parts.items():
        last = first + len(sizes)
        own = hashlib.sha256(b"shards")
        for digest in digests[first:last]:
            own.update(digest.encode())
        begin, end = int(starts[first]), int(starts[last])
        described[part] = {
            "start": begin,
            "stop": end,
            "digest": own.hexdigest(),
            "counts": _count_classes(place, begin, end, len(class_names)),
        }
        shards += [
            {"name": name, "size": size, "examples": count}
            for (name, size), count in zip(
                sizes.items(), examples[first:last], strict=True
            )
        ]
        first = last
    return {"shards": shards, "parts": described, "class_names": class_names}


def _write_entries(place: Path, numbers: np.ndarray) -> None:
    """Write the entries as an array, their labels turned to classes by `numbers`."""
    raw, path = place / RAW_FILE, place / ENTRIES_FILE
    header = {"descr": ENTRY.descr, "fortran_order": False}
    with open(raw, "rb") as source, open(path, "wb") as file:
        shape = (raw.stat().st_size // ENTRY.itemsize,)
        np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
        while len(piece := np.fromfile(source, ENTRY, CHUNK)):
            piece["label"] = numbers[piece["label"]]
            file.write(piece.tobytes())
        file.flush()
        os.fsync(file.fileno())
    raw.unlink()


def _count_classes(place: Path, start: int, stop: int, classes: int) -> list[int]:
    """Return the examples of each class among start to stop - 1, piece by piece."""
    counts = np.zeros(classes, np.int64)
    with open(place / ENTRIES_FILE, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(start * ENTRY.itemsize, os.SEEK_CUR)
        for first in range(start, stop, CHUNK):
            piece = np.fromfile(file, ENTRY, min(CHUNK, stop - first))
            counts += np.bincount(piece["label"], minlength=classes)
    return counts.tolist()
