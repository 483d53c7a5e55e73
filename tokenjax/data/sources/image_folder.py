"""A folder of image files, one sub-folder per class.

    directory/<class>/**/*.jpg               divided here, by class
    directory/{train,val,test}/<class>/**    divided as it lies

A part that is not there is taken from the training one, if that is there. What fits
into `cache_bytes` is decoded at once; a larger set is decoded when it is asked for.
Which folders are parts and classes, other names and folders around them included,
stands in `folder_layout`; how files are listed and links followed in
`tokenjax.data.images.image_files`, what becomes of pictures of all kinds in
`tokenjax.data.images.image_sizes`.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from absl import logging

from tokenjax.arguments import FREE
from tokenjax.data.dataset import (
    ArraySplit,
    Dataset,
    LazySplit,
    Split,
    make_dataset,
)
from tokenjax.data.identity import identify_files
from tokenjax.data.images.image_files import ImageTree, abridged, run_all
from tokenjax.data.images.image_opening import MAX_PIXELS
from tokenjax.data.images.image_sizes import check_header, read_rgb
from tokenjax.data.preprocessing import (
    Crop,
    Mean,
    Reading,
    Resize,
    Std,
    given_statistics,
)
from tokenjax.data.sources import folder_reading
from tokenjax.data.sources.class_folders import Files, find_parts, not_plain
from tokenjax.data.sources.folder_layout import find_layout
from tokenjax.data.sources.source_arguments import (
    CacheBytes,
    Directory,
    MaxPixels,
    NumThreads,
    OutsideLinks,
    Side,
    SplitSeed,
    TestFraction,
    ValidationFraction,
)
from tokenjax.errors import DatasetError, shown


@dataclass(frozen=True)
class _Reading:
    """Settings by which files become arrays."""

    image_size: int
    cache_bytes: int
    num_threads: int
    broken: str
    max_pixels: int
    shape: Reading

    def read(self, path: Path) -> np.ndarray:
        return read_rgb(path, self.image_size, self.max_pixels, self.shape)


@dataclass(frozen=True)
class _ReadFiles:
    """Reads image number `index`; another process can, too."""

    reading: _Reading
    paths: list[Path]

    def __call__(self, index: int) -> np.ndarray:
        return self.reading.read(self.paths[index])

    def encoded(self, index: int) -> bytes:
        """Return the bytes of an image's file."""
        return self.paths[index].read_bytes()


def _make_splits(
    root: Path, parts: dict[str, Files], reading: _Reading
) -> dict[str, Split]:
    """Decode all if it fits in memory, else check headers and decode on demand.

    What is to be skipped is found by decoding everything here.
    """
    files = [file for part in parts.values() for file in part]
    paths = [path for path, _ in files]
    labels = np.array([label for _, label in files], np.int32)
    shape = (reading.image_size, reading.image_size, 3)
    cached = len(files) * int(np.prod(shape)) <= reading.cache_bytes
    images = np.empty((len(files), *shape), np.uint8) if cached else None
    if not cached:
        size = len(files) * int(np.prod(shape))
        folder_reading.say(
            f"image_folder {shown(root.resolve().name)}: {len(files):,} images at "
            f"{reading.image_size} pixels are {size / 2**30:.3g} GiB, more than "
            f"data.cache_bytes ({reading.cache_bytes / 2**30:.3g} GiB): they are "
            "decoded when a batch asks for them (reading_processes makes more at once)"
        )

    def visit(index: int) -> None:
        if images is not None:
            images[index] = reading.read(paths[index])
        elif reading.broken == "skip":
            reading.read(paths[index])
        else:
            check_header(paths[index], reading.max_pixels)

    doing = "decoding" if cached or reading.broken == "skip" else "checking"
    broken = run_all(visit, len(files), reading.num_threads, doing, reading.broken)
    if broken:
        logging.warning(
            "image_folder: %d of %d images are broken and left out (broken='skip'): %s",
            *(len(broken), len(files), abridged(list(broken.values()))),
        )

    splits: dict[str, Split] = {}
    bounds = np.cumsum([0, *(len(part) for part in parts.values())])
    for part, (start, stop) in zip(parts, itertools.pairwise(bounds), strict=True):
        rows = np.array([i for i in range(start, stop) if i not in broken], np.int64)
        identity = identify_files(root, [paths[row] for row in rows])
        if images is None:
            threads = reading.num_threads
            read = _ReadFiles(reading, [paths[row] for row in rows])
            splits[part] = LazySplit(read, labels[rows], shape, threads, identity)
        else:
            own = images[start:stop] if len(rows) == stop - start else images[rows]
            splits[part] = ArraySplit(own, labels[rows], identity=identity)
    return splits


def image_folder(
    directory: Directory,
    image_size: Side = 224,
    validation_fraction: ValidationFraction = 0.1,
    test_fraction: TestFraction = 0.1,
    split_seed: SplitSeed = 0,
    cache_bytes: CacheBytes = 2**30,
    num_threads: NumThreads = 0,
    broken: Annotated[
        Literal["refuse", "skip"],
        FREE,
        "what becomes of a file that holds no whole image",
    ] = "refuse",
    max_pixels: MaxPixels = MAX_PIXELS,
    outside_links: OutsideLinks = False,
    crop: Crop = None,
    interpolation: Resize = None,
    mean: Mean = None,
    std: Std = None,
    layout: Annotated[
        Literal["auto", "classes", "parts"],
        FREE,
        "what the directory's own folders are; auto: what lies in them tells",
    ] = "auto",
) -> Dataset:
    """Load a folder's images at (image_size, image_size, 3), a class per sub-folder.

    The shorter side is resized and the centre kept, upright (of it the share `crop`,
    if that is given). The fractions are those of the parts that have no folder of their
    own; a folder of validation or test images alone has no training split, and needs
    `mean` and `std`. A file that holds no whole image, or more than `max_pixels`, is
    refused, all such at once, or with broken="skip" left out, and said; the division is
    as if they were there. In a set too large for `cache_bytes` a bad header is refused
    at once and other damage when it is met, while "skip" decodes all once at the start.
    A link that leaves `directory` is refused unless `outside_links`.

    Raises `DatasetError` for these, for files that cannot be opened, for a directory
    without classes or images, and for an empty class.
    """
    shape = Reading(crop or 1.0, interpolation or "bicubic")
    reading = _Reading(image_size, cache_bytes, num_threads, broken, max_pixels, shape)
    if not directory:
        raise DatasetError(
            "image_folder needs a directory: --config.data.directory=PATH"
        )
    root = Path(directory).expanduser()
    try:
        directory.encode()
    except UnicodeEncodeError as error:  # TensorFlow's files would fail, much later
        raise not_plain("the directory", root, directory) from error
    if not root.is_dir():
        raise DatasetError(f"image_folder: {shown(root)} is not a directory")
    tree = ImageTree(root, outside_links)
    fractions = (validation_fraction, test_fraction)
    found = find_layout(tree, layout)
    class_names, parts = find_parts(tree, found, fractions, split_seed)
    folder_reading.say(folder_reading.describe(root, found, class_names, fractions))
    folder_reading.warn_of_unread(root, found)
    splits = _make_splits(root, parts, reading)
    _check_classes(class_names, splits, bool(parts["train"]))
    return make_dataset(
        shown(root.resolve().name),
        class_names,
        splits["train"],
        splits["validation"],
        splits["test"],
        statistics=given_statistics(mean, std, 3),
        statistics_examples=1000,
        reading=shape,
    )


def _check_classes(
    class_names: list[str], splits: dict[str, Split], trains: bool
) -> None:
    """Refuse a class without training images; say what else a part lacks."""
    if not any(map(len, splits.values())):
        raise DatasetError("image_folder: no readable image in any class")
    for part, split in splits.items():
        counts = np.bincount(split.labels, minlength=len(class_names))
        lacking = [class_names[index] for index in np.flatnonzero(counts == 0)]
        if lacking and part == "train" and trains:
            raise DatasetError(
                f"image_folder: no readable image to train on in {abridged(lacking)}"
            )
        if lacking and len(split):
            logging.warning(
                "image_folder: the %s part has no image of %d of %d classes: %s",
                *(part, len(lacking), len(class_names), abridged(lacking)),
            )
