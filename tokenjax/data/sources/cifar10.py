"""CIFAR-10 (Krizhevsky 2009): 60,000 photographs of ten things, 32x32 pixels.

Read from what `tokenjax data prepare cifar10` made of the official archive (`FILE`: its
50,000 training and 10,000 test images in the archive's order, which is torchvision's),
or else through TFDS, whose order is another one.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Annotated

import numpy as np

from tokenjax import caches
from tokenjax.arguments import FREE
from tokenjax.data.dataset import ArraySplit, Channels, Dataset, Subset, make_dataset
from tokenjax.data.identity import Identity
from tokenjax.data.images.image_sizes import fit_array
from tokenjax.data.partition import Division, divide
from tokenjax.data.sources.source_arguments import (
    DataDirectory,
    Divided,
    Download,
    Side,
    SplitSeed,
    ValidationFraction,
)
from tokenjax.data.sources.tfds import tfds, with_statistics
from tokenjax.errors import DatasetError, first_line, shown

FILE = "cifar10.npz"
COMMAND = "tokenjax data prepare cifar10"
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SIDE = 32
STATISTICS: tuple[Channels, Channels] = (
    (0.4914, 0.4822, 0.4465),
    (0.2470, 0.2435, 0.2616),
)


def find_folder() -> Path | None:
    """Return where the set is prepared unless told otherwise; None without a home."""
    return caches.find_own("data", "cifar10")


def cifar10(
    directory: Annotated[
        str, FREE, f"where `{COMMAND}` put it; empty: where it puts it by itself"
    ] = "",
    image_size: Side = SIDE,
    validation_fraction: ValidationFraction = 0.1,
    split_seed: SplitSeed = 0,
    division: Divided = "by_class",
    data_dir: DataDirectory = "",
    download: Download = False,
) -> Dataset:
    """Load CIFAR-10 as it was prepared, or else a TFDS copy.

    `data_dir` given: the TFDS copy there. With a `validation_fraction` of 0 all 50,000
    images are for training, in the archive's order. Raises `DatasetError` when it is
    found nowhere, or the file is damaged.
    """
    folder = Path(directory).expanduser() if directory else find_folder()
    if directory and folder and not (folder / FILE).is_file():
        raise DatasetError(
            f"cifar10: no {FILE} in {shown(folder)}: run `{COMMAND} --output "
            f"{shown(folder)}`"
        )
    if folder and (folder / FILE).is_file() and (directory or not data_dir):
        return _load_prepared(
            folder / FILE, image_size, validation_fraction, split_seed, division
        )
    try:
        dataset = tfds(
            "cifar10",
            image_size,
            data_dir,
            validation_fraction,
            split_seed,
            download,
            division=division,
        )
    except DatasetError as error:
        raise DatasetError(
            f"cifar10 is not prepared: run `{COMMAND}`; or through TFDS, but {error}"
        ) from error
    return with_statistics(dataset, STATISTICS)


def _load_prepared(
    path: Path, image_size: int, fraction: float, seed: int, division: Division
) -> Dataset:
    arrays = read_prepared(path)
    parts = {}
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if image_size != SIDE:
            resized = [fit_array(image, image_size, 3) for image in images]
            images = np.array(resized, np.uint8)
        names = [f"cifar10 {part}[{index}]" for index in range(len(labels))]
        parts[part] = ArraySplit(images, labels, identity=Identity(names))
    whole = parts["train"]
    kept, held_back = np.arange(len(whole)), np.arange(0)
    if fraction:
        kept, held_back = divide(whole.labels, fraction, seed, division)
    train, validation = Subset(whole, kept), Subset(whole, held_back)
    return make_dataset(
        "cifar10", CLASS_NAMES, train, validation, parts["test"], STATISTICS
    )


def read_prepared(path: Path) -> dict[str, np.ndarray]:
    """Read "train_images" uint8 (n, 32, 32, 3), "train_labels" int32 (n,), and "test_".

    Raises: DatasetError for a file that is not whole, or holds other things.
    """
    found: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path):  # np.load takes files of other kinds too
            file = np.load(path, allow_pickle=False)
        with file:
            for part in ("train", "test"):
                images, labels = file[f"{part}_images"], file[f"{part}_labels"]
                check_part(images, labels)
                found |= {f"{part}_images": images, f"{part}_labels": labels}
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DatasetError(
            f"cifar10: {shown(path)} is damaged ({first_line(error)}): remove it and "
            f"run `{COMMAND}` again"
        ) from error
    return found


def check_part(images: np.ndarray, labels: np.ndarray) -> None:
    """Raise ValueError unless they are a part of the set."""
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(f"images are {images.dtype} {images.shape}")
    if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
        raise ValueError(f"labels are {labels.dtype} {labels.shape}")
    if not labels.size or labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise ValueError("labels are not those of ten classes")
