"""Files, folders and patterns that a user names -> picture files, and what is none."""

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenjax.data.images.image_files import ImageTree, abridged
from tokenjax.errors import UserError, shown


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
      files: pictures, each once, in the order of what was named; of a folder by path.
      problems: sentences on what could not be looked at.
      passed_over: files of folders that are no pictures by their names, by extension.
    """

    files: dict[Path, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def say_passed_over(self) -> str:
        """Return the sentence on files that are no pictures; "" if there are none."""
        if not self.passed_over:
            return ""
        kinds = [f"{n} {ending or 'bare'}" for ending, n in self.passed_over.items()]
        count = self.passed_over.total()
        some = (
            "1 file is no picture" if count == 1 else f"{count} files are no pictures"
        )
        return f"{some} by name and passed over: {abridged(kinds)}"


def find_pictures(given: Sequence[str]) -> Found:
    """Return the pictures of files, folders (all that is below) and patterns.

    A file that is named itself is a picture whatever its name: its content decides.

    Raises: UserError for a name that is nothing, and if there is no picture at all.
    """
    found = Found()
    for name in given:
        for path in _expand(name):
            if path.is_dir():
                _search(path, found)
            else:
                found.files[path] = None
    if not found.files:
        reasons = [*found.problems, found.say_passed_over()]
        told = "; ".join(reason for reason in reasons if reason)
        raise UserError(
            f"no picture in {abridged([shown(name) for name in given])}"
            f"{f': {told}' if told else ''}"
        )
    return found


def _expand(name: str) -> list[Path]:
    """Return the path of that name, or what a pattern fits.

    Raises: UserError for neither.
    """
    path = Path(name).expanduser()
    if path.exists() or path.is_symlink():
        return [path]
    if glob.has_magic(name):
        fitting = sorted(glob.glob(str(path), recursive=True))
        if not fitting:
            raise UserError(f"nothing fits the pattern {shown(name)}")
        return [Path(each) for each in fitting]
    raise UserError(f"there is no file or folder {shown(name)}")


def _search(folder: Path, found: Found) -> None:
    tree = ImageTree(folder, outside_links=True)
    for path in tree.all_files(folder):
        found.files[path] = None
    found.problems.extend(tree.problems)
    found.passed_over.update(tree.passed_over)
