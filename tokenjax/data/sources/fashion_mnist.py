"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey 28x28 photographs of ten garments.

Read from four gzipped IDX files: a big-endian header of two zero bytes, the type (8:
uint8), the number of dimensions and each of them as uint32, then the values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Annotated

import numpy as np

from tokenjax.arguments import FREE
from tokenjax.data.dataset import ArraySplit, Dataset, make_dataset
from tokenjax.data.images.image_sizes import fit_array
from tokenjax.data.partition import stratified_split
from tokenjax.data.sources.source_arguments import (
    DataDirectory,
    Side,
    SplitSeed,
    ValidationFraction,
)
from tokenjax.data.sources.tfds import tfds
from tokenjax.errors import DatasetError

DEBIAN_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
LARGEST = 2**30  # bytes of a file, unpacked: twenty times what the set's are


def read_idx(path: Path) -> np.ndarray:
    """Read the uint8 array of a gzipped IDX file; `DatasetError` if it is damaged."""
    try:
        with gzip.open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise DatasetError(f"{path} unpacks to more than {LARGEST} bytes")
        zero, kind, dimensions = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DatasetError(f"{path} is not a readable IDX file: {error}") from error
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if (zero, kind) != (0, 8) or values.size != math.prod(shape):
        raise DatasetError(
            f"{path} is not a whole IDX file of uint8: type {kind}, shape {shape}, "
            f"{values.size} values"
        )
    return values.reshape(shape)


def _read_part(
    directory: Path, part: str, image_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read images uint8 (n, image_size, image_size, 1) and labels int32 (n,)."""
    image_path = directory / f"{part}-images-idx3-ubyte.gz"
    label_path = directory / f"{part}-labels-idx1-ubyte.gz"
    images, labels = read_idx(image_path), read_idx(label_path)
    fit = images.ndim == 3 and labels.ndim == 1 and len(images) == len(labels)
    if not fit or not images.size:
        raise DatasetError(
            f"{image_path} and {label_path} do not belong together: shapes "
            f"{images.shape} and {labels.shape}"
        )
    if labels.size and labels.max() >= len(CLASS_NAMES):
        raise DatasetError(f"{label_path} holds the label {labels.max()}, above 9")
    images = images[..., None]  # (n, height, width, 1)
    if images.shape[1:3] != (image_size, image_size):
        resized = [fit_array(image, image_size, 1) for image in images]
        images = np.array(resized, np.uint8).reshape(-1, image_size, image_size, 1)
    return images, labels.astype(np.int32)


def fashion_mnist(
    directory: Annotated[str, FREE, "of the IDX files; empty: Debian's package's"] = "",
    image_size: Side = 28,
    validation_fraction: ValidationFraction = 0.1,
    split_seed: SplitSeed = 0,
    data_dir: DataDirectory = "",
) -> Dataset:
    """Load Fashion-MNIST from IDX files, or else a TFDS copy prepared in `data_dir`.

    `directory` empty: where Debian's package dataset-fashion-mnist puts the files.
    Raises `DatasetError` when it is found nowhere, or a file is damaged.
    """
    folder = Path(directory).expanduser() if directory else DEBIAN_DIRECTORY
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        return _from_tfds(
            folder,
            bool(directory),
            image_size,
            validation_fraction,
            split_seed,
            data_dir,
        )
    images, labels = _read_part(folder, "train", image_size)
    train, validation = (
        ArraySplit(images[part], labels[part])
        for part in stratified_split(labels, (validation_fraction,), split_seed)
    )
    test = ArraySplit(*_read_part(folder, "t10k", image_size))
    return make_dataset("fashion_mnist", CLASS_NAMES, train, validation, test)


def _from_tfds(
    folder: Path,
    asked_for: bool,
    image_size: int,
    validation_fraction: float,
    split_seed: int,
    data_dir: str,
) -> Dataset:
    how = (
        "fashion_mnist: no train-images-idx3-ubyte.gz in "
        f"{folder}; install Debian's package (`apt-get install dataset-fashion-mnist`) "
        "or give the folder of the four IDX files as directory"
    )
    if asked_for:
        raise DatasetError(how)
    try:
        return tfds(
            "fashion_mnist", image_size, data_dir, validation_fraction, split_seed
        )
    except DatasetError as error:
        raise DatasetError(f"{how}; or through TFDS, but {error}") from error
