"""Errors of the disk, each as one sentence with what to do about it.

Orbax, tensorstore and TensorFlow wrap the system's error in others, or quote it alone,
so the causes are followed and their text is read.
"""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from tokenjax.errors import UserError

_PROBE_BYTES = 1 << 16
_GO_ON = "the same command goes on from the last checkpoint"
_TROUBLE = {
    errno.ENOSPC: f"no space is left on the disk; make room, and {_GO_ON}",
    errno.EDQUOT: f"the disk quota is used up; make room, and {_GO_ON}",
    errno.EROFS: f"the file system is read-only; make it writable, and {_GO_ON}",
    errno.EIO: f"the disk fails (input/output error); mend it, and {_GO_ON}",
    errno.EACCES: "permission is denied",
    errno.EPERM: "the operation is not permitted",
    errno.EEXIST: "something else of that name is in the way",
    errno.ENOTDIR: "a file is where a directory should be",
    errno.EISDIR: "a directory is where a file should be",
    errno.ELOOP: "the links lead in a circle",
    errno.EFBIG: "the file is larger than is allowed (ulimit -f)",
}
_QUOTED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # told by their text alone


def trouble(error: BaseException) -> str | None:
    """Return what the disk refused and what to do; None if it refused nothing."""
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _TROUBLE:
            return _TROUBLE[cause.errno]
        for code in _QUOTED:
            if os.strerror(code) in str(cause):
                return _TROUBLE[code]
    return None


def vanished(error: BaseException) -> bool:
    """Return whether a file or directory was not there."""
    absent = os.strerror(errno.ENOENT)
    return any(
        isinstance(cause, FileNotFoundError) or absent in str(cause)
        for cause in _chain(error)
    )


@contextlib.contextmanager
def said(where: pathlib.Path | None = None) -> Iterator[None]:
    """Turn what the disk refuses into a `UserError`; let other errors pass.

    Args:
      where: named if the error names no file; it must be there at the end.

    Raises: UserError. An earlier one, which clearing up ran into trouble, comes first.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        for cause in _chain(error):
            if isinstance(cause, UserError):
                raise cause from None
        if where is not None and not where.exists():
            raise UserError(deleted(where)) from error
        reason = trouble(error)
        if reason is None:
            raise
        path = getattr(error, "filename", None) or where
        raise UserError(f"{path}: {reason}" if path else reason) from error
    if where is not None and not where.exists():
        raise UserError(deleted(where))


def probe(directory: pathlib.Path) -> None:
    """Write a small file to the disk and remove it.

    Raises: UserError.
    """
    path = directory / f".probe.{os.getpid()}"
    with said(directory):
        try:
            with open(path, "wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = str(directory)
            raise
        finally:
            path.unlink(missing_ok=True)


def deleted(where: pathlib.Path) -> str:
    """Return the sentence for a directory that went while it was written to."""
    return (
        f"{where} was deleted or moved during the run, which stops here; the same "
        "command goes on from the checkpoints that are left, if any are"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, what caused it, what caused that, and so on; each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__]
