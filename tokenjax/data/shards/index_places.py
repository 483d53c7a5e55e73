"""Where indices are kept, and how one comes there whole or not at all."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tokenjax import caches
from tokenjax.data.shards.shard_index import INDEX_FILE
from tokenjax.errors import DatasetError, shown

OWN_FOLDER = ".tokenjax_index"  # beside the shards


def choose_folder(given: str, directory: Path) -> Path:
    """Return where indices of shards in `directory` are kept.

    That is `given`; else beside the shards, or in the user's cache where an index of
    them is already or beside them cannot be written.

    Raises: DatasetError if there is no place.
    """
    if given:
        return Path(given).expanduser()
    beside = directory / OWN_FOLDER
    name = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
    cache = caches.find_own("shards", name)
    if beside.exists() or os.access(directory, os.W_OK):
        return beside
    if cache is None:
        raise DatasetError(
            f"no index can be written beside the shards in {shown(directory)}, and "
            "there is no home directory: data.index=PATH names a place"
        )
    return cache


@contextlib.contextmanager
def writing(place: Path) -> Iterator[Path]:
    """Hand out a temporary folder; it becomes `place` unless another came before."""
    temporary: Path | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=place.parent))
        yield temporary
        if not (place / INDEX_FILE).exists():
            with contextlib.suppress(FileExistsError):
                _rename(temporary, place)
    except OSError as error:
        raise DatasetError(
            f"the index of the shards cannot be written to {shown(place.parent)}: "
            f"{error.strerror}; data.index=PATH names another place"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, place: Path) -> None:
    temporary.chmod(0o755)  # mkdtemp's is for its owner alone
    try:
        temporary.rename(place)
    except OSError:
        if not (place / INDEX_FILE).exists():
            raise
