"""What to say of folders that can be read in two ways: both, and what decides."""

from collections.abc import Iterable
from pathlib import Path

from tokenjax.data.images.folder_contents import folders_with_images
from tokenjax.data.images.image_files import abridged
from tokenjax.data.sources.part_folders import PartFolders, class_level, names_in
from tokenjax.errors import DatasetError, shown

SOURCE = "image_folder"


def parts_or_classes(
    root: Path, base: Path, found: PartFolders, folders: list[Path]
) -> DatasetError:
    """Return the error of folders called as parts that may be classes."""
    others = [path for path in folders if path not in found.folders()]
    beside = f", {_names(others)} not read" if others else ""
    first, again = f"the classes {_names(folders)}", _again(root, base)
    if not found.with_classes:
        return _in_two_ways(
            base,
            first,
            f"parts without classes{beside}",
            f"{again}data.layout=classes takes the first; for the second put a folder "
            "per class into each part",
        )
    inside = sorted(set().union(*found.classes()))
    parts = _names(found.with_classes.values())
    return _in_two_ways(
        base,
        first,
        f"{parts} of the classes {_listed(inside)}{beside}",
        f"{again}data.layout=classes takes the first, data.layout=parts the second",
    )


def classes_or_sets(root: Path, base: Path, folders: list[Path]) -> DatasetError:
    """Return the error of folders that share the names of their sub-folders."""
    inside = sorted(set().union(*(names_in(class_level(path)) for path in folders)))
    return _in_two_ways(
        base,
        f"the classes {_names(folders)}",
        f"parts of a set with the classes {_listed(inside)}",
        f"{_again(root, base)}data.layout=classes takes the first; for the second call "
        "the parts train, val and test, or give one of them as data.directory",
    )


def one_class_or_around(
    root: Path, base: Path, only: Path, others: list[Path]
) -> DatasetError:
    """Return the error of a folder that is a class, or around the classes."""
    inside = _names(folders_with_images(only))
    return _in_two_ways(
        base,
        f"the class{'es' if others else ''} {_names([only, *others])}",
        f"the classes {inside} in {shown(only.name)}",
        f"{_again(root, base)}data.layout=classes takes the first, "
        f"data.directory={shown(only)} the second",
    )


def without_classes(root: Path, base: Path, only: Path) -> DatasetError:
    """Return the error of images that lie in a folder that is hardly a class."""
    return _in_two_ways(
        base,
        f"the class {shown(only.name)} alone",
        "images without classes",
        f"{_again(root, base)}data.layout=classes takes the first; for the second put "
        "them into a folder per class",
    )


def _in_two_ways(base: Path, first: str, second: str, remedy: str) -> DatasetError:
    return DatasetError(
        f"{SOURCE}: {shown(base)} can be read in two ways, as {first}, or as {second}: "
        f"{remedy}"
    )


def _again(root: Path, base: Path) -> str:
    """Name the directory by which a setting would mean `base`."""
    return "" if base == root else f"with data.directory={shown(base)} "


def _names(folders: Iterable[Path]) -> str:
    return _listed(path.name for path in folders)


def _listed(names: Iterable[str]) -> str:
    return abridged([shown(name) for name in names], ", ")
