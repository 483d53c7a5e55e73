"""Folders of image files: what is in them, and work on all of them at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tokenjax.data.dataset import thread_count
from tokenjax.errors import DatasetError

EXTENSIONS = {".jpg", ".jpeg", ".png"}
ERRORS_NAMED = 10


def class_folders(folder: Path) -> list[Path]:
    """Its sub-folders by name, without hidden ones."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )


def abridged(lines: list[str]) -> str:
    """The first ten, and how many more there are."""
    rest = len(lines) - ERRORS_NAMED
    return "; ".join(lines[:ERRORS_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def run_all(
    function: Callable[[int], Any], count: int, num_threads: int, description: str
) -> None:
    """function(0..count - 1) by threads, under a bar; one error for all that failed."""
    from tqdm import tqdm

    def attempt(index: int) -> str | None:
        try:
            function(index)
        except DatasetError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(thread_count(num_threads)) as pool:
        outcomes: Iterable[str | None] = pool.map(attempt, range(count))
        bar = tqdm(outcomes, description, count, unit="image", delay=1, leave=False)
        errors = [error for error in bar if error is not None]
    if errors:
        raise DatasetError(
            f"{len(errors)} of {count} images cannot be read: {abridged(errors)}"
        )
