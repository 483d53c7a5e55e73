"""The 1,797 handwritten digits that scikit-learn carries: real data with no download.

8x8 images of values 0..16 (UCI "Optical Recognition of Handwritten Digits", test
part), here uint8 0..255 with one channel, enlarged by bilinear interpolation.
"""

import gzip
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

from tokenjax.data.dataset import ArraySplit, Dataset, make_dataset
from tokenjax.data.partition import stratified_split
from tokenjax.data.preprocessing import Reading
from tokenjax.data.sources.source_arguments import (
    Side,
    SplitSeed,
    TestFraction,
    ValidationFraction,
)
from tokenjax.errors import DatasetError

CLASS_NAMES = tuple("0123456789")


@lru_cache(maxsize=1)
def _raw_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read images uint8 (1797, 8, 8) of values 0..255 and labels int32 (1797,).

    Read from the file in scikit-learn's package: importing sklearn takes 1.5 to 5
    seconds of a run's start, the file 20 ms. Where it lies elsewhere, sklearn is asked.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DatasetError("digits: scikit-learn carries them, `pip install` it")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",")  # (1797, 64 + 1)
        values, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    else:
        from sklearn.datasets import load_digits

        bundle = load_digits()
        values, labels = bundle.images, bundle.target
    return np.rint(values * (255 / 16)).astype(np.uint8), labels.astype(np.int32)


def digit_arrays(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all digits, uint8 (1797, image_size, image_size), and int32 labels."""
    from PIL import Image

    small, labels = _raw_digits()
    size = (image_size, image_size)
    images = [
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        for image in small
    ]
    return np.stack(images), labels


def digit_parts(
    split_seed: int = 0, validation_fraction: float = 0.1, test_fraction: float = 0.2
) -> list[np.ndarray]:
    """Return indices into `digit_arrays` of the train, validation and test part."""
    _, labels = _raw_digits()
    return stratified_split(labels, (validation_fraction, test_fraction), split_seed)


def digits(
    image_size: Side = 32,
    split_seed: SplitSeed = 0,
    validation_fraction: ValidationFraction = 0.1,
    test_fraction: TestFraction = 0.2,
) -> Dataset:
    """Load digits at (image_size, image_size, 1), split by class under `split_seed`."""
    images, labels = digit_arrays(image_size)
    train, validation, test = (
        ArraySplit(images[part][..., None], labels[part])
        for part in digit_parts(split_seed, validation_fraction, test_fraction)
    )
    return make_dataset(
        "digits",
        CLASS_NAMES,
        train,
        validation,
        test,
        reading=Reading(interpolation="bilinear"),
    )
