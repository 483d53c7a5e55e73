"""Files that are whole or absent, and trees of arrays with checksums.

Orbax restores an array with a flipped bit in silence, so whatever this library saves
has the sha256 of every file beside it, checked on load. Everything is written under
another name and renamed.

A checkpoint carries the number of its format, `FORMAT`. An earlier one is read, one
without a number (of before there were numbers) too; a later one is refused. 1 is the
layout told here; a run's checkpoints have formats of their own
(`tokenjax.training.checkpoints.checkpoint_files`).
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from tokenjax import paths
from tokenjax.errors import CheckpointError, DamagedCheckpointError, first_line

FORMAT = 1
CHECKSUMS = "checksums.json"
METADATA = "metadata.json"
VARIABLES = "variables"

ArrayTree = dict[str, Any]  # name -> array, or another tree


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Hand out a temporary name to write to; rename it to `path` if nothing fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: object) -> None:
    """Write JSON, indented, whole and on the disk, or not at all.

    Numbers that JSON does not know, NaN and infinities, become null.
    """
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(with_nulls(value), file, indent=2, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def write_text(path: pathlib.Path, text: str) -> None:
    """Write text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def with_nulls(value: Any) -> Any:
    """Return a value for JSON with None in place of every number that is not finite.

    Python would write NaN and Infinity, which other programs refuse to read.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: with_nulls(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [with_nulls(each) for each in value]
    return value


def read_json(path: pathlib.Path) -> Any:
    """Read a JSON file.

    Raises: CheckpointError if the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def check_format(number: object, where: object, newest: int = FORMAT) -> None:
    """Raise an error unless this library reads checkpoints of format `number`.

    `newest` is the latest format of this kind of checkpoint.

    Raises: DamagedCheckpointError if it is no such number, CheckpointError if it is of
    a newer tokenjax.
    """
    if not isinstance(number, int) or number < 0:
        raise DamagedCheckpointError(f"{where} is damaged: its format is {number!r}")
    if number > newest:
        raise CheckpointError(
            f"{where} has checkpoint format {number}, this tokenjax reads up to "
            f"{newest}: a newer tokenjax made it, install that one"
        )


def directory_checksums(directory: pathlib.Path, sync: bool = False) -> dict[str, str]:
    """Return the sha256 of every file below a directory, by relative path.

    Args:
      directory: what to hash.
      sync: also waits until every file is on the disk, not in its cache alone.
    """
    checksums = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                if sync:
                    os.fsync(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            checksums[str(path.relative_to(directory))] = digest
    return checksums


def verify_directory(directory: pathlib.Path, checksums: object) -> None:
    """Compare a directory to what `directory_checksums` gave, read from a file.

    Raises: DamagedCheckpointError naming the files that are missing or changed.
    """
    if not isinstance(checksums, dict) or not checksums:
        raise DamagedCheckpointError(
            f"{directory} is damaged: its checksums hold no names of files"
        )
    try:
        found = directory_checksums(directory)
    except OSError as error:
        raise DamagedCheckpointError(
            f"{directory} is damaged: {error.filename}: {error.strerror}"
        ) from error
    bad = [name for name, digest in checksums.items() if found.get(name) != digest]
    if bad:
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if bad[3:] else "")
        raise DamagedCheckpointError(
            f"{directory} is damaged: {shown} changed or gone since it was saved"
        )


def save_variables(
    directory: pathlib.Path,
    variables: ArrayTree,
    metadata: Mapping[str, Any],
    beside: Mapping[str, object] | None = None,
) -> None:
    """Write a tree of arrays as a stand-alone checkpoint, replacing what is there.

    Args:
      directory: made; holds `variables/` (Orbax), `metadata.json`, `checksums.json`.
      variables: {"params": ..., ...}.
      metadata: JSON-able, e.g. the model's name and arguments.
      beside: JSON files to write as well, by name, checksummed as all are.

    Raises: CheckpointError if the directory holds something else.
    """
    import orbax.checkpoint as ocp

    directory = paths.resolve(directory, "checkpoint")
    ours = (directory / CHECKSUMS).exists()
    if directory.exists() and not ours and any(directory.iterdir()):
        raise CheckpointError(f"{directory} exists and is no checkpoint of ours")
    temporary = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save(temporary / VARIABLES, variables)
        write_json(temporary / METADATA, {"format": FORMAT, **metadata})
        for name, value in (beside or {}).items():
            write_json(temporary / name, value)
        checksums = directory_checksums(temporary, sync=True)
        write_json(temporary / CHECKSUMS, checksums)
        _swap(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: pathlib.Path, directory: pathlib.Path) -> None:
    """Rename `new`; what was there goes only when the new one is in place."""
    before = directory.with_name(directory.name + ".before")
    shutil.rmtree(before, ignore_errors=True)
    if directory.exists():
        directory.rename(before)
    new.rename(directory)
    shutil.rmtree(before, ignore_errors=True)


def load_variables(directory: pathlib.Path) -> tuple[ArrayTree, dict[str, Any]]:
    """Read what `save_variables` wrote: (variables as numpy arrays, metadata).

    Raises: CheckpointError if it is missing, damaged, newer or something else.
    """
    directory = paths.resolve(directory, "checkpoint")
    if not (directory / CHECKSUMS).is_file():
        raise CheckpointError(
            f"{directory} holds no converted checkpoint (`tokenjax convert` writes one)"
        )
    verify_directory(directory, read_json(directory / CHECKSUMS))
    metadata = read_json(directory / METADATA)
    if not isinstance(metadata, dict):
        raise DamagedCheckpointError(f"{directory / METADATA} is damaged: no object")
    check_format(metadata.get("format", 0), directory)
    return read_arrays(directory / VARIABLES), metadata


def read_arrays(path: pathlib.Path) -> ArrayTree:
    """Read a tree that Orbax saved, as numpy arrays, whatever devices it came from.

    Raises: CheckpointError if Orbax cannot read it.
    """
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    try:
        # The handler, for the checkpointer looks for a file that a run's state has not
        # and logs that.
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            as_numpy = jax.tree.map(
                lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
                handler.metadata(path).tree,
            )
            arguments = ocp.args.PyTreeRestore(restore_args=as_numpy)
            return handler.restore(path, args=arguments)
    except Exception as error:  # Orbax raises whatever the damage led to
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {first_line(error)})"
        ) from error
