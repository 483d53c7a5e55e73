"""Folders named as classes -> files with labels, by part.

Names are compared in Unicode's composed form (macOS writes the other one), and must be
plain text: reports and figures show them. Names that differ in case alone are two
classes, and said to be.
"""

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
from absl import logging

from tokenjax.data.images.image_files import ImageTree, abridged
from tokenjax.data.partition import stratified_split
from tokenjax.errors import DatasetError, shown, unknown_name

SOURCE = "image_folder"
PART_FOLDERS = {
    "train": ("train",),
    "validation": ("val", "validation"),
    "test": ("test",),
}
# What others call the parts: two of them beside each other are hardly classes.
_PART_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}

Files = list[tuple[Path, int]]  # each with its label


def find_parts(
    tree: ImageTree, fractions: tuple[float, float], seed: int
) -> tuple[list[str], dict[str, Files]]:
    """Return class names, and the files of train, validation and test.

    Raises: DatasetError for whatever is wrong with the folders.
    """
    root = tree.root
    folders = _part_folders(tree)
    top = tree.folders(root)
    # "train" alone may be a class of vehicles, unless nothing lies beside it.
    alone = top == [root / "train"]
    divided = "train" in folders and (alone or len(folders) > 1)
    _check_layout(root, top, set(folders.values()) if divided else set())
    classes = _class_folders(tree, folders["train"] if divided else root)
    tree.check(SOURCE)
    if not classes:
        raise DatasetError(f"{SOURCE}: {shown(root)} has no sub-folder, one per class")
    class_names = list(classes)
    _warn_of_case(class_names)
    parts = {"train": _list_files(tree, classes, class_names)}
    if divided:
        for part in folders.keys() - {"train"}:
            own = _class_folders(tree, folders[part])
            parts[part] = _list_files(tree, own, class_names)
    tree.check(SOURCE)
    _warn_of_others(tree)
    missing = [part for part in ("validation", "test") if part not in parts]
    shares = dict(zip(("validation", "test"), fractions, strict=True))
    files = parts["train"]
    labels = np.array([label for _, label in files])
    pieces = stratified_split(labels, tuple(shares[part] for part in missing), seed)
    for part, indices in zip(["train", *missing], pieces, strict=True):
        parts[part] = [files[index] for index in indices]
    return class_names, parts


def _part_folders(tree: ImageTree) -> dict[str, Path]:
    """Return the folder of every part that is there and holds folders."""
    folders: dict[str, Path] = {}
    for part, names in PART_FOLDERS.items():
        for name in names:
            folder = tree.root / name
            if not tree.is_folder(folder) or not tree.folders(folder):
                continue
            if part in folders:
                raise DatasetError(
                    f"{SOURCE}: {shown(tree.root)} has both {folders[part].name} and "
                    f"{name}; one of them is enough"
                )
            folders[part] = folder
    return folders


def _check_layout(root: Path, top: list[Path], parts: set[Path]) -> None:
    """Refuse parts under other names; say what is not read beside the parts."""
    others = [shown(path.name) for path in top if path not in parts]
    if parts and others:
        logging.warning(
            "%s: beside the parts %s, not read: %s",
            *(SOURCE, ", ".join(sorted(p.name for p in parts)), abridged(others)),
        )
    suspects = [name for name in others if name.casefold() in _PART_NAMES]
    if len(suspects) > 1 or (parts and suspects):
        raise DatasetError(
            f"{SOURCE}: {shown(root)} has folders {', '.join(suspects)}, which look "
            "like parts: they are read as train, val (or validation) and test"
        )


def _class_folders(tree: ImageTree, folder: Path) -> dict[str, Path]:
    """Return the folder of every class, by name."""
    found: dict[str, Path] = {}
    for path in tree.folders(folder):
        name = unicodedata.normalize("NFC", path.name)
        if not name.isprintable():
            raise DatasetError(
                f"{SOURCE}: the class folder {shown(path)} is not named in plain text: "
                "rename it"
            )
        if name in found:
            raise DatasetError(
                f"{SOURCE}: {shown(folder)} has two folders {name!r}, written in two "
                "ways of Unicode: merge them"
            )
        found[name] = path
    return dict(sorted(found.items()))


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
            f"no .jpg, .jpeg or .png file in {abridged(empty)}: remove the folder or "
            "fill it"
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
            "%s: %d files are no .jpg, .jpeg or .png and passed over: %s",
            *(SOURCE, tree.passed_over.total(), abridged(counts)),
        )
