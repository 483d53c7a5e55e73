"""A first look into folders: which of them hold images, and how deep.

Stops at the first image, so that a large set is listed once only. Nothing is refused
here: a link, and what cannot be looked into, counts as holding images, so that it is
met again, and named, when it is listed (`tokenjax.data.images.image_files`).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from tokenjax.data.images.image_files import is_image_name, is_passed_over


def has_images(folder: Path) -> bool:
    """Return whether an image lies right in `folder`."""
    try:
        return any(not is_folder for _, is_folder in _scan(folder))
    except OSError:
        return True


def folders_with_images(folder: Path) -> list[Path]:
    """Return the sub-folders of `folder` with an image at any depth, by name."""
    try:
        found = [path for path, is_folder in _scan(folder) if is_folder]
    except OSError:
        return []
    return sorted(path for path in found if holds_images(path))


def holds_images(folder: Path) -> bool:
    """Return whether `folder` has an image at any depth; a link is not followed."""
    waiting = [folder]
    while waiting:  # a hostile tree is deeper than Python's recursion goes
        current = waiting.pop()
        if current.is_symlink():
            return True
        try:
            for path, is_folder in _scan(current):
                if not is_folder:
                    return True
                waiting.append(path)
        except OSError:
            return True
    return False


def _scan(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the folders and images right in `folder`, and which of both each is."""
    with os.scandir(folder) as scan:
        for entry in scan:
            if is_passed_over(entry.name):
                continue
            path = folder / entry.name
            # Only of a link: an entry's own test would raise for one to itself.
            linked = entry.is_symlink()
            is_folder = path.is_dir() if linked else entry.is_dir(follow_symlinks=False)
            if is_folder or is_image_name(entry.name):
                yield path, is_folder
