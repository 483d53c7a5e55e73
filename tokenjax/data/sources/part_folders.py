"""Which folders look like the parts of a set, by their names and by what they hold."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenjax.data.images.folder_contents import folders_with_images, has_images
from tokenjax.data.sources.part_names import is_around, recognise

PARTS = ("train", "validation", "test")
MOST_AROUND = 8  # folders entered on the way to the classes


@dataclass(frozen=True)
class PartFolders:
    """Folders that look like parts of a set, each of them below one folder.

    `with_classes` hold a folder per class, `without` hold images alone or no labels.
    `twice` are pairs of folders with classes that look like the same part.
    """

    with_classes: dict[str, Path]
    without: dict[str, Path]
    twice: tuple[tuple[Path, Path], ...]
    sure: frozenset[Path]  # whose names leave no doubt
    named: frozenset[Path]  # whose names speak of any part

    @classmethod
    def among(cls, folders: list[Path], certain: bool = False) -> "PartFolders":
        """Find them among folders that hold images; `certain`: they are there."""
        named = [(path, recognise(path.name)) for path in folders]
        found = [(path, name) for path, name in named if name is not None]
        found.sort(key=lambda pair: -pair[1].certainty)  # the surest first
        sure = frozenset(path for path, name in found if name.certainty)
        kinds = {path: holds_classes(path) for path, _ in found}
        alone = len(folders) == 1
        rank = {path: name.certainty for path, name in found}
        with_classes: dict[str, Path] = {}
        without: dict[str, Path] = {}
        twice = []
        for path, name in found:
            # With images beside its folders it is a class, unless its name and its
            # neighbours say that it is a part.
            part = certain or (path in sure and (len(sure) > 1 or alone))
            full = kinds[path] == "yes" or (kinds[path] == "some" and part)
            if not full or name.part not in PARTS:
                without.setdefault(name.part, path)
            elif name.part not in with_classes:
                with_classes[name.part] = path
            elif rank[with_classes[name.part]] == name.certainty:
                twice.append((with_classes[name.part], path))
        ordered = {part: with_classes[part] for part in PARTS if part in with_classes}
        surely = bool(ordered) and sure.issuperset(ordered.values())
        remaining = {
            part: path
            for part, path in without.items()
            if part not in ordered and (path in sure or not surely)
        }
        return cls(ordered, remaining, tuple(twice), sure, frozenset(kinds))

    def folders(self) -> list[Path]:
        """Return all folders that look like parts."""
        return [*self.with_classes.values(), *self.without.values()]

    def are_sure(self) -> bool:
        """Return whether the names of those with classes leave no doubt."""
        return self.sure.issuperset(self.with_classes.values())

    def classes(self) -> list[set[str]]:
        """Return the names of the classes in each of those that hold some."""
        return [names_in(class_level(path)) for path in self.with_classes.values()]

    def share_classes(self) -> bool:
        """Return whether any two of them hold a class of the same name."""
        names = self.classes()
        return len(set().union(*names)) < sum(map(len, names))

    def share_with(self, others: list[Path]) -> bool:
        """Return whether another folder is called as a class, or holds one like it."""
        mine = set().union(*self.classes())
        return not mine.isdisjoint(names_of(others)) or any(
            not mine.isdisjoint(names_in(class_level(path))) for path in others
        )


def holds_classes(folder: Path) -> str:
    """Return "yes" for folders with images alone, "some" for images beside them."""
    level = class_level(folder)
    if not folders_with_images(level):
        return "no"
    return "some" if has_images(level) else "yes"


def class_level(folder: Path) -> Path:
    """Enter folders around the classes, as long as they are alone in their folder."""
    level = folder
    for _ in range(MOST_AROUND):
        inner = folders_with_images(level)
        if has_images(level) or len(inner) != 1 or not lies_around(inner[0]):
            break
        level = inner[0]
    return level


def lies_around(folder: Path) -> bool:
    """Return whether a folder is called as those around classes, or as that around it.

    Archives are unpacked into a folder of their own name: flowers/flowers.
    """
    above = folder.parent.resolve().name
    return is_around(folder.name) or folder.name.casefold() == above.casefold()


def names_in(folder: Path) -> set[str]:
    """Return the names of the folders with images in `folder`."""
    return names_of(folders_with_images(folder))


def names_of(folders: Iterable[Path]) -> set[str]:
    """Return the names of folders as classes have them."""
    return {unicodedata.normalize("NFC", path.name) for path in folders}
