"""Folders of image files: listing them, and work on all of them at once.

Hidden files and folders and what archives and systems leave behind (`JUNK`) are passed
over. Links are followed where they stay below the root. A link that leaves it,
leads nowhere or into itself, a folder that cannot be listed and a pipe or device with
an image's name are problems, all of which are gathered for one error.
"""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenjax.data.threads import thread_count
from tokenjax.errors import BrokenImageError, DatasetError, shown

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
ENDINGS = ".jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff or .gif"  # in a sentence
JUNK = {"__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini"}
ERRORS_NAMED = 10
MOST_THREADS = 1024
AT_ONCE = 16  # images that a thread works on before it takes the next ones


def is_passed_over(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or left by a system."""
    return name.startswith(".") or name in JUNK


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is taken for an image."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


@dataclass(frozen=True)
class ImageTree:
    """Folders and images below `root`, and what was found wrong with them."""

    root: Path
    outside_links: bool = False  # whether links may leave the root
    problems: dict[str, None] = field(default_factory=dict)  # each sentence once
    passed_over: Counter[str] = field(default_factory=Counter)  # by extension

    def check(self, name: str) -> None:
        """Raise DatasetError with all problems found, for source `name`."""
        if self.problems:
            raise DatasetError(f"{name}: {abridged(list(self.problems))}")

    def folders(self, folder: Path) -> list[Path]:
        """List the sub-folders of `folder` by name."""
        return self._list(folder, images=False)[0]

    def files(self, folder: Path) -> list[Path]:
        """List the image files right in `folder`, by name."""
        return self._list(folder)[1]

    def all_files(self, folder: Path) -> list[Path]:
        """List the image files in `folder` and below it, by path."""
        found = []
        waiting = [(folder, frozenset([_identity(folder)]))]
        while waiting:  # a hostile tree is deeper than Python's recursion goes
            current, above = waiting.pop()
            folders, files = self._list(current)
            found += files
            for path in folders:
                identity = _identity(path)
                if identity in above:
                    self._problem(f"{shown(path)} is a link to a folder around it")
                else:
                    waiting.append((path, above | {identity}))
        return sorted(found)

    def is_folder(self, path: Path) -> bool:
        """Return whether `path` is a folder that no link forbids entering."""
        return path.is_dir() and (not path.is_symlink() or self._may_follow(path))

    def _list(self, folder: Path, images: bool = True) -> tuple[list[Path], list[Path]]:
        """List sub-folders and, if they are asked for, images right in `folder`."""
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            self._problem(f"{shown(folder)} cannot be listed: {error.strerror}")
            return [], []
        found: tuple[list[Path], list[Path]] = [], []
        for entry in entries:
            if is_passed_over(entry.name):
                continue
            path = folder / entry.name
            # Not the entry's own tests: they raise for a link to itself.
            is_folder, is_image = path.is_dir(), is_image_name(entry.name)
            lost = not is_folder and entry.is_symlink() and not path.exists()
            matters = is_folder or (images if is_image else lost)
            if matters and entry.is_symlink() and not self._may_follow(path):
                continue
            if is_folder:
                found[0].append(path)
            elif images and not is_image:
                self.passed_over[path.suffix.lower()] += 1
            elif images and path.is_file():
                found[1].append(path)
            elif images:
                self._problem(f"{shown(path)} is no regular file")
        return found

    def _problem(self, sentence: str) -> None:
        self.problems[sentence] = None

    def _may_follow(self, link: Path) -> bool:
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # nothing there; a loop, before Python 3.13
            self._problem(f"{shown(link)} is a link that leads nowhere")
            return False
        if self.outside_links or target.is_relative_to(self.root.resolve()):
            return True
        self._problem(
            f"{shown(link)} is a link out of {shown(self.root)}, to {shown(target)} "
            "(data.outside_links=True allows such links)"
        )
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def abridged(lines: list[str], separator: str = "; ") -> str:
    """Join the first ten lines, and say how many more there are."""
    rest = len(lines) - ERRORS_NAMED
    more = [f"and {rest} more"] if rest > 0 else []
    return separator.join(lines[:ERRORS_NAMED] + more)


def run_all(
    function: Callable[[int], Any],
    count: int,
    num_threads: int,
    description: str,
    broken: str = "refuse",
) -> dict[int, str]:
    """Call function(0), ... function(count - 1) by threads, under a bar.

    Returns: index -> sentence of those whose image is broken, with broken="skip".

    Raises: DatasetError, one for all that failed.
    """
    from tqdm import tqdm

    def attempt(indices: range) -> dict[int, DatasetError]:
        found = {}
        for index in indices:
            try:
                function(index)
            except DatasetError as error:
                found[index] = error
        return found

    # Many at a time: a million futures take gigabytes.
    pieces = [
        range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)
    ]
    errors: dict[int, DatasetError] = {}
    bar = tqdm(total=count, desc=description, unit="image", delay=1, leave=False)
    with bar, ThreadPoolExecutor(thread_count(num_threads)) as pool:
        for piece, found in zip(pieces, pool.map(attempt, pieces), strict=True):
            errors |= found
            bar.update(len(piece))
    # A file that could not be opened today may be tomorrow: never a reason to skip it,
    # or a resumed run would see other data.
    skipped = {
        index: str(error)
        for index, error in errors.items()
        if broken == "skip" and isinstance(error, BrokenImageError)
    }
    refused = [str(error) for i, error in errors.items() if i not in skipped]
    if refused:
        raise DatasetError(
            f"{len(refused)} of {count} images cannot be read: {abridged(refused)}"
        )
    return skipped
