"""The lock of a workdir: one training at a time.

`run.lock` says who holds it, as JSON {"pid", "host", "since"}. What holds it is the
system's lock on that open file (flock), which ends with its process, however that
ends; a file that a kill left is nobody's. Where a file system knows no such locks, the
file's word is taken: its process, if it is one of this host, must be gone.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
from types import TracebackType

from tokenjax.errors import UserError
from tokenjax.training.observation.progress import warn

FILE = "run.lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_LARGEST = 1 << 12  # bytes of the file that are looked at


class RunLock:
    """A directory's lock; a context manager that holds it."""

    def __init__(self, workdir: pathlib.Path):
        self._path = workdir / FILE
        self._handle: int | None = None

    def __enter__(self) -> "RunLock":
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, and make the directory if it is not there.

        Raises: UserError if another run has it, or the directory cannot be written.
        """
        workdir = self._path.parent
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            self._handle = self._open_locked()
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, _describe_holder(), 0)
        except OSError as error:
            self.release()
            raise UserError(f"{workdir} cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Give the lock back, and remove its file; again does nothing."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)  # while nobody else can have taken it
        os.close(self._handle)
        self._handle = None

    def _open_locked(self) -> int:
        """Return the file, open and locked."""
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self._lock(handle)
                if self._is_current(handle):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # of a run that ended just now, and removed it

    def _lock(self, handle: int) -> None:
        """Lock an open file, or find that nobody has it.

        Raises: UserError if another run has it.
        """
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise self._refusal(_read_holder(handle)) from error
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._ask_the_file(handle)

    def _ask_the_file(self, handle: int) -> None:
        """Raise an error if the file names a process of this host that is alive."""
        holder = _read_holder(handle)
        here = holder.get("host") == socket.gethostname()
        if here and _is_alive(holder.get("pid")):
            raise self._refusal(holder)
        elsewhere = ""
        if holder:
            elsewhere = f"; its {FILE} is of {_name(holder)}, which must have ended"
        warn(
            f"the file system of {self._path.parent} knows no locks: two runs there "
            f"at once, on two hosts, would not be noticed{elsewhere}"
        )

    def _is_current(self, handle: int) -> bool:
        """Return whether the open file is the one of this name."""
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _refusal(self, holder: dict[str, object]) -> UserError:
        return UserError(
            f"{self._path.parent}: a run is going on there ({_name(holder)}); wait for "
            "its end, or name another --workdir"
        )


def _describe_holder() -> bytes:
    since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    return json.dumps(holder).encode() + b"\n"


def _read_holder(handle: int) -> dict[str, object]:
    """Return what the file says; {} if it says nothing yet, or something else."""
    try:
        found = json.loads(os.pread(handle, _LARGEST, 0))
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _name(holder: dict[str, object]) -> str:
    if not holder:
        return "which one, its file does not say yet"
    return (
        f"process {holder.get('pid')} on {holder.get('host')}, "
        f"since {holder.get('since')}"
    )


def _is_alive(pid: object) -> bool:
    """Return whether a process of that number runs, other than this one."""
    if not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
