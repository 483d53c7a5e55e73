"""Multi-modal re-identification: samples of several images, and who they show.

A batch is a flat dict: for each modality its name -> uint8 (b, height, width, 3);
"label" int32 (b,); "camera" and "scene" int32 (b,), from 0; "present" bool
(b, modalities), False where that modality's image is not on disk (its pixels are 0
here, and must be made exactly 0 again once normalised). Evaluation splits add "query"
and "gallery" bool (b,), the parts an example plays.

Labels are classes 0..num_classes - 1 in the training split, its identities in ascending
order, and raw identities in evaluation splits, whose people or vehicles are others.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from tokenjax.data.dataset import DatasetInfo
from tokenjax.data.identity import Identity, digest_arrays, digest_names
from tokenjax.data.threads import thread_count

JUNK, DISTRACTOR = -1, 0  # raw identities of nobody, see `sources.reid_nobody`


class Images(Protocol):
    """Pictures of a split: rows (b,) -> modality -> uint8 (b, h, w, 3)."""

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the pictures of rows `indices` (b,) by modality."""
        ...


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images in memory: modality -> uint8 (n, height, width, 3)."""

    arrays: Mapping[str, np.ndarray]

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: array[indices] for name, array in self.arrays.items()}


@dataclass(frozen=True, eq=False)
class ImagesOnDemand:
    """Images read when they are asked for, several samples at a time, by threads.

    `read(index)` returns one sample as uint8 (modalities, height, width, 3) or raises
    `DatasetError`; `num_threads` threads call it at once (0: one per core).
    """

    read: Callable[[int], np.ndarray]
    modalities: tuple[str, ...]
    image_shape: tuple[int, int, int]
    num_threads: int = 0

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_count(self.num_threads), "tokenjax-read")

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        shape = (len(indices), *self.image_shape)
        images = {name: np.empty(shape, np.uint8) for name in self.modalities}
        positions = (int(index) for index in indices)
        for row, sample in enumerate(self._pool.map(self.read, positions)):
            for name, image in zip(self.modalities, sample, strict=True):
                images[name][row] = image
        return images


@dataclass(frozen=True, eq=False)
class ReidSplit:
    """One part of a re-identification set; `gather` returns what the module says.

    `columns` holds "camera", "scene", "present" and, in evaluation splits, "query" and
    "gallery": arrays of n rows, as all of `labels` (n,) int32. `identity` names the
    samples by their first file.
    """

    images: Images
    labels: np.ndarray
    image_shape: tuple[int, int, int]
    columns: Mapping[str, np.ndarray]
    identity: Identity

    def __post_init__(self) -> None:
        if self.labels.dtype != np.int32 or self.labels.ndim != 1:
            raise TypeError(f"labels: {self.labels.dtype} {self.labels.shape}")
        for name, column in self.columns.items():
            if column.shape[:1] != self.labels.shape:
                raise TypeError(f"{name}: {column.shape}, labels {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def example_names(self) -> Sequence[str]:
        return self.identity.names

    def digest(self) -> str:
        named = digest_names(self.identity, self.labels)
        columns = [self.columns[name] for name in sorted(self.columns)]
        return digest_arrays(np.frombuffer(named.encode(), np.uint8), *columns)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        columns = {name: array[indices] for name, array in self.columns.items()}
        return self.images.gather(indices) | {"label": self.labels[indices]} | columns


@dataclass(frozen=True, eq=False)
class ReidInfo(DatasetInfo):
    """Facts about a re-identification set that a model and an evaluation need.

    `class_names` are the raw identities of the training split; `counts` has, for every
    split, the samples of each of its own identities in ascending order.

    `num_cameras` is the set's own, whichever of them are on disk, or more if there are
    more. Retrieval leaves out gallery samples of the query's identity with the same
    `same`: "camera" or "scene". `remarks` are sentences on images that play no part, or
    less than the others.
    """

    modalities: tuple[str, ...]
    num_cameras: int
    same: str
    remarks: tuple[str, ...] = ()
