"""Where the classes of a folder of images lie: in it, in its parts, or further in.

    directory/<class>/**                    classes
    directory/{train,val,test}/<class>/**   parts
    directory/images/<class>/**             a folder around them, which is entered

By content: which folders hold images, right in them or further down, and which names
their sub-folders share. What their own names say (`part_names`) is held against that.
What could be two things is refused with both (`folder_doubts`); data.layout decides it.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tokenjax.data.images.folder_contents import has_images, holds_images
from tokenjax.data.images.image_files import ImageTree
from tokenjax.data.sources import folder_doubts
from tokenjax.data.sources.part_folders import (
    MOST_AROUND,
    PartFolders,
    class_level,
    holds_classes,
    lies_around,
    names_in,
)
from tokenjax.data.sources.part_names import is_around
from tokenjax.errors import DatasetError, shown

SOURCE = "image_folder"
ENOUGH_CLASSES = 2  # beside a folder "train": it is a class like them

Wanted = Literal["auto", "classes", "parts"]


@dataclass(frozen=True)
class FolderLayout:
    """Where things lie. Without parts, the sub-folders of `base` are the classes."""

    base: Path
    parts: dict[str, Path] = field(default_factory=dict)  # the folder of its classes
    unlabelled: dict[str, Path] = field(default_factory=dict)  # parts without classes
    beside: tuple[Path, ...] = ()  # what else lies there and is not read


def find_layout(tree: ImageTree, wanted: Wanted) -> FolderLayout:
    """Find where the classes lie below the tree's root.

    Args:
      tree: of the folder.
      wanted: data.layout: "classes" or "parts" where that is known of the root's own
        sub-folders, "auto" to decide by content.

    Raises: DatasetError for what could be two things, and for links out of the root.
    """
    if wanted == "classes":
        return FolderLayout(tree.root)
    if wanted == "auto":
        return _read(tree, tree.root, 0)
    folders = _list(tree, tree.root)
    holding = [path for path in folders if holds_images(path)]
    found = PartFolders.among(holding, certain=True)
    if not found.with_classes:
        raise DatasetError(
            f"{SOURCE}: data.layout=parts, but {shown(tree.root)} has no folder called "
            "train, val or test with a folder per class in it"
        )
    return _divide(tree, tree.root, found, folders)


def _list(tree: ImageTree, base: Path) -> list[Path]:
    folders = tree.folders(base)
    tree.check(SOURCE)
    return folders


def _read(tree: ImageTree, base: Path, entered: int) -> FolderLayout:
    """Find the layout below `base`, which lies `entered` folders below the root."""
    if entered > MOST_AROUND:
        raise DatasetError(
            f"{SOURCE}: no classes in the first {MOST_AROUND} folders, one in the "
            f"other, of {shown(tree.root)}"
        )
    folders = _list(tree, base)
    holding = [path for path in folders if holds_images(path)]
    found = PartFolders.among(holding)
    if _are_parts(tree.root, base, found, holding):
        return _divide(tree, base, found, folders)
    if len(holding) != 1:
        _check_classes(tree.root, base, holding)
        return FolderLayout(base)
    only = holding[0]
    if has_images(only):
        if is_around(only.name) or found.sure:
            raise folder_doubts.without_classes(tree.root, base, only)
        return FolderLayout(base)
    inside = _read(tree, only, entered + 1)
    if not (lies_around(only) or inside.parts or inside.base != only):
        raise folder_doubts.one_class_or_around(tree.root, base, only, [])
    others = tuple(path for path in folders if path != only)
    return replace(inside, beside=others + inside.beside)


def _are_parts(root: Path, base: Path, found: PartFolders, folders: list[Path]) -> bool:
    """Return whether the folders with images are parts; refuse what is in doubt."""
    if len(folders) == 1:
        return bool(found.with_classes)
    others = [path for path in folders if path not in found.folders()]
    num_flat = sum(map(has_images, others))  # certainly classes, if there are parts
    if len(found.with_classes) > 1:
        answer = _are_several(found, num_flat)
    elif found.with_classes:
        answer = _is_one(found, others, num_flat)
    else:
        sure = found.sure.intersection(found.without.values())
        all_named = found.named.issuperset(folders)
        suspect = len(found.without) > 1 and (len(sure) > 1 or all_named)
        answer = None if suspect else False
    if answer is None:
        raise folder_doubts.parts_or_classes(root, base, found, folders)
    return answer


def _are_several(found: PartFolders, num_flat: int) -> bool | None:
    """Return whether two or three folders with classes are parts; None for doubt."""
    if (found.are_sure() and "train" in found.with_classes) or found.share_classes():
        return True
    return False if num_flat and not found.are_sure() else None


def _is_one(found: PartFolders, others: list[Path], num_flat: int) -> bool | None:
    """Return whether one folder with classes is a part; None for doubt.

    A part without classes, or images to predict, beside it say that it is one; other
    folders with images that it is a class like them.
    """
    sure = found.are_sure()
    if found.share_with(others) or "train" in found.without:
        return None
    if found.without and not others:
        return True
    if sure and num_flat < ENOUGH_CLASSES:
        return True if found.without else None
    return None if sure and found.without else False


def _check_classes(root: Path, base: Path, folders: list[Path]) -> None:
    """Refuse siblings that may be around the classes, or sets of the same classes."""
    flat = [path for path in folders if has_images(path)]
    if len(flat) >= ENOUGH_CLASSES:
        return
    for path in folders:
        if is_around(path.name) and holds_classes(path) == "yes":
            others = [other for other in folders if other != path]
            raise folder_doubts.one_class_or_around(root, base, path, others)
    if flat or len(folders) < 2:
        return
    counts = Counter(name for path in folders for name in names_in(class_level(path)))
    enough = max(2, len(folders) / 2)
    if sum(count >= enough for count in counts.values()) >= 2:
        raise folder_doubts.classes_or_sets(root, base, folders)


def _divide(
    tree: ImageTree, base: Path, found: PartFolders, folders: list[Path]
) -> FolderLayout:
    """Return the layout of parts, in `base` with sub-folders `folders`."""
    for one, other in found.twice:
        raise DatasetError(
            f"{SOURCE}: {shown(base)} has both {shown(one.name)} and "
            f"{shown(other.name)}; one of them is enough"
        )
    beside = [path for path in folders if path not in found.folders()]
    parts = {}
    for part, folder in found.with_classes.items():
        level = class_level(folder)
        for name in level.relative_to(folder).parts:
            inner = folder / name
            beside += [path for path in _list(tree, folder) if path != inner]
            folder = inner
        parts[part] = level
    return FolderLayout(base, parts, found.without, tuple(beside))
