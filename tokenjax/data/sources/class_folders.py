"""Folders named as classes -> files with labels, by part.

Names are compared in Unicode's composed form (macOS writes the other one), and must be
plain text: reports and figures show them. Names that differ in case alone are two
classes, and said to be.
"""

import os
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
from absl import logging

from tokenjax.data.images.folder_contents import has_images
from tokenjax.data.images.image_files import ENDINGS, ImageTree, abridged
from tokenjax.data.partition import stratified_split
from tokenjax.data.sources.folder_layout import SOURCE, FolderLayout
from tokenjax.data.sources.part_folders import PARTS
from tokenjax.errors import DatasetError, shown, unknown_name

Files = list[tuple[Path, int]]  # each with its label


def find_parts(
    tree: ImageTree, layout: FolderLayout, fractions: tuple[float, float], seed: int
) -> tuple[list[str], dict[str, Files]]:
    """Return class names, and the files of train, validation and test.

    A part without a folder of its own is taken from the training one, if there is one.

    Raises: DatasetError for whatever is wrong with the folders.
    """
    folders = layout.parts or {"train": layout.base}
    classes = {part: _class_folders(tree, folder) for part, folder in folders.items()}
    tree.check(SOURCE)
    # Without a training part every other one counts.
    naming = [classes["train"]] if "train" in classes else [*classes.values()]
    class_names = sorted({name for found in naming for name in found})
    if not class_names:
        loose = "; the images right in it have none" if has_images(layout.base) else ""
        raise DatasetError(
            f"{SOURCE}: {shown(layout.base)} has no sub-folder, one per class{loose}"
        )
    _warn_of_case(class_names)
    parts = {
        part: _list_files(tree, found, class_names) for part, found in classes.items()
    }
    tree.check(SOURCE)
    _warn_of_others(tree)
    missing = [part for part in PARTS[1:] if part not in parts]
    files = parts.pop("train", [])
    labels = np.array([label for _, label in files], np.int64)
    shares = dict(zip(PARTS[1:], fractions, strict=True))
    pieces = stratified_split(labels, tuple(shares[part] for part in missing), seed)
    for part, indices in zip(["train", *missing], pieces, strict=True):
        parts[part] = [files[index] for index in indices]
    return class_names, {part: parts[part] for part in PARTS}


def _class_folders(tree: ImageTree, folder: Path) -> dict[str, Path]:
    """Return the folder of every class, by name."""
    found: dict[str, Path] = {}
    for path in tree.folders(folder):
        name = unicodedata.normalize("NFC", path.name)
        if not name.isprintable():
            raise not_plain("the class folder", path, path.name)
        if name in found:
            raise DatasetError(
                f"{SOURCE}: {shown(folder)} has two folders {name!r}, written in two "
                "ways of Unicode: merge them"
            )
        found[name] = path
    return dict(sorted(found.items()))


def not_plain(what: str, path: Path, name: str) -> DatasetError:
    """Return the error of a `name`, in `path`, that no report can show."""
    said = f"{SOURCE}: {what} {shown(path)} is not named in plain text"
    try:
        written = os.fsencode(name).decode()
    except UnicodeDecodeError:
        written = name
    if written != name and written.isprintable():
        return DatasetError(
            f"{said} for this process, whose encoding of names is "
            f"{sys.getfilesystemencoding()}: set PYTHONUTF8=1, or a locale of UTF-8"
        )
    return DatasetError(f"{said}: rename it")


def _list_files(
    tree: ImageTree, classes: dict[str, Path], class_names: list[str]
) -> Files:
    """List every image below the folders, by class and path; none may be empty."""
    files: Files = []
    empty = []
    for name, folder in classes.items():
        if name not in class_names:
            kind = f"class folder in {shown(folder.parent)}"
            raise DatasetError(unknown_name(kind, name, class_names))
        images = tree.all_files(folder)
        if not images:
            empty.append(shown(folder))
        label = class_names.index(name)
        files += [(path, label) for path in images]
    tree.check(SOURCE)  # a folder may be empty because it could not be listed
    if empty:
        raise DatasetError(
            f"no {ENDINGS} file in {abridged(empty)}: remove the folder or fill it"
        )
    return files


def _warn_of_case(class_names: list[str]) -> None:
    folded = Counter(name.casefold() for name in class_names)
    alike = [name for name in class_names if folded[name.casefold()] > 1]
    if alike:
        logging.warning(
            "%s: classes that differ in case alone, taken as %d: %s",
            *(SOURCE, len(alike), abridged(alike)),
        )


def _warn_of_others(tree: ImageTree) -> None:
    if tree.passed_over:
        counts = [f"{n} {suffix or 'bare'}" for suffix, n in tree.passed_over.items()]
        logging.warning(
            "%s: %d files are no %s and passed over: %s",
            *(SOURCE, tree.passed_over.total(), ENDINGS, abridged(counts)),
        )
