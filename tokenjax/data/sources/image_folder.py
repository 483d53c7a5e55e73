"""A folder of JPEG and PNG files, one sub-folder per class.

    directory/<class>/**/*.jpg                      divided here, by class
    directory/{train,val|validation|test}/<class>/  divided as it lies

A part that is not there is taken from the training one. What fits into `cache_bytes`
is decoded at once; a larger set is decoded when it is asked for.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tokenjax.data.dataset import (
    ArraySplit,
    Dataset,
    LazySplit,
    Split,
    make_dataset,
)
from tokenjax.data.image_files import (
    EXTENSIONS,
    abridged,
    class_folders,
    run_all,
)
from tokenjax.data.images import check_header, read_rgb
from tokenjax.data.partition import stratified_split
from tokenjax.errors import DatasetError, unknown_name

PART_FOLDERS = {
    "train": ("train",),
    "validation": ("val", "validation"),
    "test": ("test",),
}

Files = list[tuple[Path, int]]  # each with its label


def _list_files(folder: Path, class_names: list[str]) -> Files:
    """Every image below `folder`, by class and name; an empty class is refused."""
    files: Files = []
    empty = []
    for entry in class_folders(folder):
        if entry.name not in class_names:
            kind = f"class folder in {folder}"
            raise DatasetError(unknown_name(kind, entry.name, class_names))
        images = sorted(
            path
            for path in entry.rglob("*")
            if path.suffix.lower() in EXTENSIONS
            and path.is_file()
            # macOS leaves "._name.jpg" beside the image: no image itself.
            and not path.name.startswith(".")
        )
        if not images:
            empty.append(str(entry))
        files += [(path, class_names.index(entry.name)) for path in images]
    if empty:
        raise DatasetError(
            f"no .jpg, .jpeg or .png file in {abridged(empty)}: remove the folder or "
            "fill it"
        )
    return files


def _find_parts(
    root: Path, fractions: tuple[float, float], seed: int
) -> tuple[list[str], dict[str, Files]]:
    """Class names, and the files of train, validation and test."""
    if not root.is_dir():
        raise DatasetError(f"image_folder: {root} is not a directory")
    folders = {
        part: root / name
        for part, names in PART_FOLDERS.items()
        for name in names
        if _has_classes(root / name)
    }
    # "train" alone may be a class of vehicles, unless nothing lies beside it.
    alone = class_folders(root) == [root / "train"]
    divided = "train" in folders and (alone or len(folders) > 1)
    train_folder = folders["train"] if divided else root
    class_names = [entry.name for entry in class_folders(train_folder)]
    if not class_names:
        raise DatasetError(f"image_folder: {root} has no sub-folder, one per class")
    parts = {"train": _list_files(train_folder, class_names)}
    if divided:
        for part in folders.keys() - {"train"}:
            parts[part] = _list_files(folders[part], class_names)
    missing = [part for part in ("validation", "test") if part not in parts]
    shares = dict(zip(("validation", "test"), fractions, strict=True))
    files = parts["train"]
    labels = np.array([label for _, label in files])
    pieces = stratified_split(labels, tuple(shares[part] for part in missing), seed)
    for part, indices in zip(["train", *missing], pieces, strict=True):
        parts[part] = [files[index] for index in indices]
    return class_names, parts


def _has_classes(folder: Path) -> bool:
    return folder.is_dir() and bool(class_folders(folder))


def _make_splits(
    parts: dict[str, Files], image_size: int, cache_bytes: int, num_threads: int
) -> dict[str, Split]:
    """In memory when all of it fits, else on demand once every header is checked."""
    files = [file for part in parts.values() for file in part]
    paths = [path for path, _ in files]
    labels = np.array([label for _, label in files], np.int32)
    shape = (image_size, image_size, 3)
    bounds = np.cumsum([0, *(len(part) for part in parts.values())])
    ranges = dict(zip(parts, itertools.pairwise(bounds), strict=True))

    if len(files) * int(np.prod(shape)) <= cache_bytes:
        images = np.empty((len(files), *shape), np.uint8)

        def decode(index: int) -> None:
            images[index] = read_rgb(paths[index], image_size)

        run_all(decode, len(files), num_threads, "decoding")
        return {
            part: ArraySplit(images[start:stop], labels[start:stop])
            for part, (start, stop) in ranges.items()
        }

    run_all(lambda i: check_header(paths[i]), len(files), num_threads, "checking")

    def reader(start: int) -> Callable[[int], np.ndarray]:
        return lambda index: read_rgb(paths[start + index], image_size)

    return {
        part: LazySplit(reader(start), labels[start:stop], shape, num_threads)
        for part, (start, stop) in ranges.items()
    }


def image_folder(
    directory: str,
    image_size: int = 224,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
    cache_bytes: int = 2**30,
    num_threads: int = 0,
) -> Dataset:
    """Images (image_size, image_size, 3): shorter side resized, centre kept, upright.

    The fractions are those of the parts that have no folder of their own. Raises
    `DatasetError` for a directory without classes or images, an empty class, and
    files that are damaged: all of them at once, or in a set too large for
    `cache_bytes` those with a bad header at once and others when they are met.
    """
    if image_size < 1 or num_threads < 0 or cache_bytes < 0:
        raise DatasetError(
            "image_folder: image_size is 1 or more, num_threads and cache_bytes 0 or "
            f"more, got {image_size}, {num_threads} and {cache_bytes}"
        )
    if not directory:
        raise DatasetError(
            "image_folder needs a directory: --config.data.directory=PATH"
        )
    root = Path(directory).expanduser()
    fractions = (validation_fraction, test_fraction)
    class_names, parts = _find_parts(root, fractions, split_seed)
    splits = _make_splits(parts, image_size, cache_bytes, num_threads)
    return make_dataset(
        root.resolve().name,
        class_names,
        splits["train"],
        splits["validation"],
        splits["test"],
        statistics_examples=1000,
    )
