"""An index of shards: made once, then mapped into memory, never read whole.

    FOLDER/<digest>/entries.npy   (n,) of `ENTRY`, 16 bytes: where an example's image
                                  begins in its shard, its bytes, its class
                    index.json    shards, classes, counts

Examples lie in the order of the shards and, within each, in the order of its members.
For a batch its entries alone are looked up, and their pages let go: a process's memory
does not grow to the index's size. The digest is one of the shards' names and sizes, so
that shards that changed have another index. It is written under another name and
renamed: several processes may make it at once, and the first one's stays.
"""

import hashlib
import json
import mmap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tokenjax.errors import DatasetError, first_line, shown

FORMAT = 1
INDEX_FILE = "index.json"
ENTRIES_FILE = "entries.npy"
ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("label", "<i4")])
LOOKED_UP = 2**15  # at a time: as many pages at the most
Sizes = dict[str, int]  # shard -> bytes


@dataclass(frozen=True)
class Part:
    """Examples `start` to `stop` - 1: those of one part, of `digest`.

    `counts` (classes,): of each class.
    """

    start: int
    stop: int
    digest: str
    counts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The index in `folder`, of shards in `directory`.

    Attributes:
      folder: that holds it.
      directory: of the shards.
      kind: "tar" or "array_record".
      shards: their names, in order.
      starts: (shards + 1,) int64, where the examples of each begin.
      class_names: in the order of the labels.
      parts: by name: "train", "validation", "test", those there are.
    """

    folder: Path
    directory: Path
    kind: str
    shards: tuple[str, ...]
    starts: np.ndarray
    class_names: tuple[str, ...]
    parts: dict[str, Part]

    def __getstate__(self) -> dict[str, object]:
        """Leave out what was found in the file: another process looks itself."""
        return {key: self.__dict__[key] for key in self.__dataclass_fields__}

    @property
    def labels(self) -> np.ndarray:
        """Return each example's class, (n,) int32, mapped: who reads all keeps all."""
        return self._map()["label"]

    def look_up(self, examples: np.ndarray) -> np.ndarray:
        """Return the entries of `examples` (k,), (k,) of `ENTRY`."""
        found = np.empty(len(examples), ENTRY)
        for start in range(0, len(examples), LOOKED_UP):
            some = slice(start, start + LOOKED_UP)
            entries = self._map()
            found[some] = entries[examples[some]]
            del entries  # and the pages with it
        return found

    @cached_property
    def _entries_begin(self) -> int:
        """Return the byte of the file where the entries begin.

        Raises: DatasetError for a file that is damaged.
        """
        path = self.folder / ENTRIES_FILE
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
            if found.shape != (self.starts[-1],) or found.dtype != ENTRY:
                raise ValueError(f"{found.dtype} {found.shape}")
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(
                f"{shown(path)} is damaged ({first_line(error)}): delete "
                f"{shown(self.folder)}, and it is made again"
            ) from error
        return path.stat().st_size - found.nbytes

    def _map(self) -> np.ndarray:
        begin = self._entries_begin
        with open(self.folder / ENTRIES_FILE, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):  # or the pages around come too
            mapped.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(mapped, ENTRY, len(self), begin)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def find_shards(self, examples: np.ndarray) -> np.ndarray:
        """Return in which shard, by number, each of `examples` (k,) lies."""
        return np.searchsorted(self.starts, examples, side="right") - 1


def digest_sizes(kind: str, parts: dict[str, Sizes], label_key: str) -> str:
    """Return what changes with any shard's name or size, or with how they are read."""
    found = hashlib.sha256(f"{FORMAT} {kind} {label_key}\n".encode())
    for part, sizes in parts.items():
        for name, size in sizes.items():
            line = f"{part}\t{name}\t{size}\n"
            found.update(line.encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def open_index(folder: Path, directory: Path) -> ShardIndex:
    """Open an index that was made.

    Raises: DatasetError for one that is damaged.
    """
    path = folder / INDEX_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        shards = found["shards"]
        index = ShardIndex(
            folder=folder,
            directory=directory,
            kind=found["kind"],
            shards=tuple(shard["name"] for shard in shards),
            starts=np.cumsum([0, *(shard["examples"] for shard in shards)]),
            class_names=tuple(found["class_names"]),
            parts={
                name: Part(**{**part, "counts": tuple(part["counts"])})
                for name, part in found["parts"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{shown(path)} is damaged ({first_line(error)}): delete "
            f"{shown(folder)}, and it is made again"
        ) from error
    _ = index.labels  # mapped, or refused
    return index


def changed_shards(folder: Path, sizes: Sizes) -> list[str]:
    """Return which shards differ from those that an older index in `folder` is of.

    The newest index there is looked at, if it is one of shards of the same names.
    """
    made = sorted(folder.glob(f"*/{INDEX_FILE}"), key=lambda path: path.stat().st_mtime)
    if not made:
        return []
    try:
        shards = json.loads(made[-1].read_text(encoding="utf-8"))["shards"]
        before = {shard["name"]: shard["size"] for shard in shards}
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if not before.keys() & sizes.keys():
        return []
    return [
        f"{shown(name)}: {_told(before.get(name))} before, {_told(sizes.get(name))} now"
        for name in sorted(before.keys() | sizes.keys())
        if before.get(name) != sizes.get(name)
    ]


def _told(size: int | None) -> str:
    return "not there" if size is None else f"{size} bytes"
