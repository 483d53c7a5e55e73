"""What one shard holds, as arrays: where each example's image lies, and its label."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

LARGEST_IMAGE = 2**32 - 1  # bytes, as the index counts them


@dataclass(frozen=True, eq=False)
class Listing:
    """The n examples of a shard, in its order.

    Attributes:
      offsets: (n,) uint64, where an image begins: a byte, or a record's number.
      lengths: (n,) uint32, bytes.
      codes: (n,) int32, into `vocabulary`.
      vocabulary: the labels that occur, as they are written.
      digest: of names, bytes and labels, example by example, in hexadecimal.
      skipped: members without an image, passed over.
    """

    offsets: np.ndarray
    lengths: np.ndarray
    codes: np.ndarray
    vocabulary: list[str]
    digest: str
    skipped: int = 0


@dataclass
class ListingBuilder:
    """Examples one after another, made a `Listing`."""

    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    skipped: int = 0

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256(b"shard")

    def add(self, name: str, offset: int, length: int, label: str) -> None:
        """Take in an example: its image's name, place and bytes, and its label."""
        self.offsets.append(offset)
        self.lengths.append(length)
        self.codes.append(self.known.setdefault(label, len(self.known)))
        line = f"{name}\t{length}\t{label}\n"
        self._digest.update(line.encode("utf-8", "surrogateescape"))

    def finish(self) -> Listing:
        """Return all that was taken in."""
        return Listing(
            np.array(self.offsets, np.uint64),
            np.array(self.lengths, np.uint32),
            np.array(self.codes, np.int32),
            list(self.known),
            self._digest.hexdigest(),
            self.skipped,
        )
