"""The official archive of CIFAR-10 -> the arrays that the source `cifar10` reads.

cifar-10-python.tar.gz holds five training batches and a test batch, each a pickle of a
dictionary: "data" uint8 (n, 3072), the red, green and blue rows of every image, and
"labels", a list. Nothing is unpacked to the disk, and no code in a pickle is run:
whoever calls passes a reader that sees to that.
"""

import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tokenjax import storage
from tokenjax.data.imbalance import class_counts, imbalanced_indices
from tokenjax.data.index_files import write_indices
from tokenjax.data.preparation import download
from tokenjax.data.sources.cifar10 import (
    CLASS_NAMES,
    FILE,
    SIDE,
    check_part,
    read_prepared,
)
from tokenjax.errors import DatasetError, first_line, shown

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"
MEMBERS = {
    "train": tuple(f"cifar-10-batches-py/data_batch_{n}" for n in range(1, 6)),
    "test": ("cifar-10-batches-py/test_batch",),
}
LARGEST = 2**26  # bytes of a batch: twice what one has
INDICES = "imbalanced_indices.txt"
RATIO, SEED = 0.1, 42  # of the original CIFAR-ViT's thinned set

ReadPickle = Callable[[bytes, str], Mapping[str, Any]]


def prepare(folder: Path, archive: Path | None, read_pickle: ReadPickle) -> Path:
    """Write `FILE` in a folder, from the archive, and return where it is.

    Args:
      folder: where the file goes; what is there already is checked, and left.
      archive: a copy of it; None: it is downloaded, and removed when it was read.
      read_pickle: turns the bytes of a pickle, called as messages call it, into its
        dictionary; of an array numpy's.

    Raises: DatasetError for what cannot be had, or is another file.
    """
    path = folder / FILE
    if path.is_file() and archive is None:
        read_prepared(path)
        return path
    fetched = folder / ARCHIVE
    by_hand = archive is not None or fetched.is_file()
    if archive is None:
        download.fetch(URL, fetched, MD5)
    else:
        if not archive.is_file():
            raise DatasetError(f"no file {shown(archive)}")
        download.check(archive, MD5)
    arrays: dict[str, Any] = {**read_archive(archive or fetched, read_pickle)}
    folder.mkdir(parents=True, exist_ok=True)
    with storage.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    if not by_hand:
        fetched.unlink()
    return path


def read_archive(path: Path, read_pickle: ReadPickle) -> dict[str, np.ndarray]:
    """Return "train_images" uint8 (n, 32, 32, 3), "train_labels" int32 (n,), "test_".

    Raises: DatasetError for an archive that holds other things.
    """
    batches = _read_members(path)
    arrays: dict[str, np.ndarray] = {}
    for part, members in MEMBERS.items():
        missing = [member for member in members if member not in batches]
        if missing:
            raise DatasetError(f"{shown(path)} holds no file {', '.join(missing)}")
        found = [
            _read_batch(read_pickle(batches[member], f"{member} in {shown(path)}"))
            for member in members
        ]
        if any(batch is None for batch in found):
            raise DatasetError(f"{shown(path)} holds no batches of CIFAR-10")
        pairs = [batch for batch in found if batch is not None]
        arrays[f"{part}_images"] = np.concatenate([images for images, _ in pairs])
        arrays[f"{part}_labels"] = np.concatenate([labels for _, labels in pairs])
    return arrays


def write_imbalanced(folder: Path) -> tuple[Path, np.ndarray]:
    """List the training images of the original's thinned set; return where, and them.

    5000, 4500, ..., 500 of the ten classes, drawn as its data/download_data.py does.
    """
    labels = read_prepared(folder / FILE)["train_labels"]
    available = np.bincount(labels, minlength=len(CLASS_NAMES))
    counts = class_counts("linear", available, RATIO, CLASS_NAMES)
    indices = imbalanced_indices(labels, counts, SEED)
    path = folder / INDICES
    remarks = (
        "CIFAR-10: training images of the imbalanced set, by number in the archive",
        f"of each class {', '.join(map(str, counts.tolist()))}; seed {SEED}",
    )
    write_indices(path, indices, remarks)
    return path, indices


def _read_members(path: Path) -> dict[str, bytes]:
    """Return the bytes of the batches by name; what else is there is passed over."""
    wanted = {member for members in MEMBERS.values() for member in members}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.name not in wanted or not member.isfile():
                    continue
                file = archive.extractfile(member)
                if file is None or member.size > LARGEST:
                    raise DatasetError(
                        f"{shown(path)}: {member.name} has {member.size} bytes, more "
                        "than a batch has"
                    )
                found[member.name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DatasetError(
            f"{shown(path)} is no whole archive: {first_line(error)}"
        ) from error
    return found


def _read_batch(batch: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return images and labels of a batch; None for what is none."""
    try:
        rows = np.asarray(batch["data"])
        labels = np.asarray(batch["labels"], np.int32)
        images = rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        check_part(images, labels)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return np.ascontiguousarray(images), labels
