"""A split whose images lie in shards, and are read there when a batch asks for them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tokenjax.data.images.image_opening import MAX_PIXELS
from tokenjax.data.images.image_sizes import read_encoded
from tokenjax.data.lazy_names import LazyNames
from tokenjax.data.preprocessing import Reading
from tokenjax.data.shards import record_files, tar_files
from tokenjax.data.shards.open_files import OpenFiles
from tokenjax.data.shards.shard_index import Part, ShardIndex
from tokenjax.data.threads import ReadingThreads
from tokenjax.errors import DatasetError, first_line, shown


@dataclass(frozen=True, eq=False)
class ShardSplit:
    """The examples `part` of an index; what is open is each process's own.

    Images become uint8 of `image_shape` as `reading` says, by `num_threads` threads
    (0: one per core).
    """

    index: ShardIndex
    part: Part
    image_shape: tuple[int, int, int]
    reading: Reading
    max_pixels: int = MAX_PIXELS
    num_threads: int = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is open: another process opens its own."""
        return {key: self.__dict__[key] for key in self.__dataclass_fields__}

    def __len__(self) -> int:
        return self.part.stop - self.part.start

    @property
    def labels(self) -> np.ndarray:
        return self.index.labels[self.part.start : self.part.stop]

    @property
    def class_counts(self) -> np.ndarray:
        return np.array(self.part.counts)

    def example_names(self) -> Sequence[str]:
        return ExampleNames(self)

    def digest(self) -> str:
        return self.part.digest

    @cached_property
    def _threads(self) -> ReadingThreads:
        return ReadingThreads(self.num_threads)

    @cached_property
    def _files(self) -> OpenFiles[Any]:
        if self.index.kind == "tar":
            return OpenFiles(self._open_tar, io.FileIO.close)
        return OpenFiles(self._open_records, lambda reader: reader.close())

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        examples = np.asarray(indices, np.int64) + self.part.start
        shards = self.index.find_shards(examples)
        entries = self.index.look_up(examples)

        def read(row: int) -> np.ndarray:
            shard, offset = int(shards[row]), int(entries["offset"][row])
            content = self._read_bytes(shard, offset, int(entries["length"][row]))
            where = _Place(self, shard, offset)
            return read_encoded(
                content, where, self.image_shape, self.reading, self.max_pixels
            )

        images = self._threads.read(read, range(len(examples)), self.image_shape)
        return {"image": images, "label": np.array(entries["label"])}

    def take_labels(self, indices: np.ndarray) -> np.ndarray:
        examples = np.asarray(indices, np.int64) + self.part.start
        return np.array(self.index.look_up(examples)["label"])

    def encoded(self, index: int) -> bytes:
        """Return the bytes of one example's image file."""
        example = np.array([index + self.part.start])
        shard = int(self.index.find_shards(example)[0])
        entry = self.index.look_up(example)[0]
        return self._read_bytes(shard, int(entry["offset"]), int(entry["length"]))

    def path(self, shard: int) -> Path:
        return self.index.directory / self.index.shards[shard]

    def _open_tar(self, shard: int) -> io.FileIO:
        try:
            return io.FileIO(self.path(shard))
        except OSError as error:
            raise DatasetError(
                f"{shown(self.path(shard))} cannot be opened: {error.strerror}"
            ) from error

    def _open_records(self, shard: int) -> Any:
        return record_files.open_records(self.path(shard))

    def _read_bytes(self, shard: int, offset: int, length: int) -> bytes:
        """Return an image file's bytes.

        Raises: DatasetError for a shard that cannot be read, or ends before.
        """
        with self._files.use(shard) as file:
            try:
                if self.index.kind == "array_record":
                    record = file.read([offset])[0]
                    where = f"{shown(self.path(shard))}: record {offset}"
                    return record_files.decode_record(record, where)[2]
                file.seek(offset)
                content = file.read(length)
            except DatasetError:
                raise
            except Exception as error:  # the disk's, or whatever the damage led to
                raise DatasetError(
                    f"{shown(self.path(shard))} cannot be read at {offset}: "
                    f"{first_line(error)}"
                ) from error
        if len(content) < length:
            raise DatasetError(
                f"{shown(self.path(shard))} ends within the image at byte {offset}: it "
                "changed since it was indexed"
            )
        return content


@dataclass(frozen=True)
class _Place:
    """Where an example lies, told only when it is asked for: in a message."""

    split: ShardSplit
    shard: int
    offset: int

    def __str__(self) -> str:
        path = self.split.path(self.shard)
        return f"{shown(path)}: {shown(_name(self.split, self.shard, self.offset))}"


def _name(split: ShardSplit, shard: int, offset: int) -> str:
    """Return what an example is called in its shard."""
    path = split.path(shard)
    try:
        if split.index.kind == "tar":
            return tar_files.name_at(path, offset)
        record = record_files.open_records(path).read([offset])[0]
        return record_files.decode_record(record, str(path))[0]
    except Exception:  # what is damaged may have lost its name too
        return f"the example at {offset} (if the shard changed, delete its index)"


@dataclass(frozen=True)
class ExampleNames(LazyNames):
    """The names of a split's examples, "SHARD/MEMBER", read when they are asked for."""

    split: ShardSplit

    def __len__(self) -> int:
        return len(self.split)

    def find(self, index: int) -> str:
        example = np.array([index + self.split.part.start])
        shard = int(self.split.index.find_shards(example)[0])
        offset = int(self.split.index.look_up(example)["offset"][0])
        name = _name(self.split, shard, offset)
        return f"{self.split.index.shards[shard]}/{name}"
