"""What is set before a process starts: glibc's allocator, and how Python reads names.

glibc reads its settings at the start alone, and so does Python the encoding of files'
names; so a program starts itself again with them. That is done only where nothing but
our own program is lost: where this process was started as one of our commands.

The allocator is set for the large arrays of training on a machine whose CPU computes
(docs/allocator.md). UTF-8 mode is set where the locale knows fewer letters than files
and classes are named with; those would be other names to Python than to the C++
libraries, and to the run on another machine.
"""

import contextlib
import glob
import importlib.metadata
import importlib.util
import os
import pathlib
import sys

VARIABLE = "GLIBC_TUNABLES"
# Huge pages; one heap, that threads share and that keeps what is freed (up to 1 TiB):
# large blocks of another thread would be mapped apart, whatever mmap_max says.
ALLOCATOR = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.arena_max=1:"
    "glibc.malloc.trim_threshold=1099511627776"
)
UTF8 = "PYTHONUTF8"
STARTED = "TOKENJAX_STARTED_AGAIN"  # the process that was, by its number
NVIDIA = ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/dxg")
DEVICES = (*NVIDIA, "/dev/kfd", "/dev/accel*", "/dev/vfio/[0-9]*")
PLUGINS = ("libtpu", "jax_plugins")
SCRIPTS = ("train.py", "eval.py", "bench.py")  # beside the package, in a checkout
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # options of Python's own


def start_again() -> None:
    """Start this program again with `ALLOCATOR` and UTF-8 mode, where that is right.

    A user's own GLIBC_TUNABLES are kept.
    """
    if os.environ.get(STARTED) == str(os.getpid()):
        return
    missing = {}
    if VARIABLE not in os.environ and has_glibc() and not has_accelerator():
        missing[VARIABLE] = ALLOCATOR
    if sys.getfilesystemencoding() != "utf-8":
        missing[UTF8] = "1"
    if not missing or not is_our_program():
        return
    os.environ.update(missing)
    os.environ[STARTED] = str(os.getpid())  # which the new program keeps
    sys.stdout.flush()
    os.execv(sys.executable, sys.orig_argv)


def say_if_started_again() -> None:
    """Print, once, that this program was started again."""
    if os.environ.pop(STARTED, None) != str(os.getpid()):
        return
    if os.environ.get(VARIABLE) == ALLOCATOR:
        what = "glibc's allocator set for large arrays"
        where = f"{VARIABLE}; see docs/allocator.md"
    else:
        what, where = "names of files read as UTF-8", UTF8
    print(f"started again with {what} ({where})", file=sys.stderr, flush=True)


def has_glibc() -> bool:
    """Return whether the C library is glibc; musl, for one, has no such settings."""
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(ValueError, OSError):
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    return False


def has_accelerator() -> bool:
    """Return whether jax would look for another device than the CPU; starts no jax."""
    chosen = _chosen_platforms()
    if chosen:
        return chosen != "cpu"
    if any(glob.glob(pattern) for pattern in DEVICES):
        return True
    if any(importlib.util.find_spec(name) for name in PLUGINS):
        return True
    return bool(importlib.metadata.entry_points(group="jax_plugins"))


def has_nvidia() -> bool:
    """Return whether jax may compute on an NVIDIA device; starts no jax."""
    chosen = _chosen_platforms()
    if chosen and not {"cuda", "gpu"} & set(chosen.split(",")):
        return False
    return any(glob.glob(pattern) for pattern in NVIDIA)


def _chosen_platforms() -> str:
    """Return what the environment says of jax's platforms; "" for nothing."""
    chosen = os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_PLATFORM_NAME")
    return (chosen or "").strip().lower()


def is_our_program() -> bool:
    """Return whether Python was started on one of our commands, and on nothing else.

    Not so where a script of the user's own, a notebook or standard input runs them:
    starting again would begin that anew.
    """
    main = sys.modules.get("__main__")
    count = len(sys.argv)
    before, started = sys.orig_argv[1:-count], sys.orig_argv[-count:]
    if not sys.argv or started[1:] != sys.argv[1:] or len(started) != count:
        return False
    spec = getattr(main, "__spec__", None)
    if before[-1:] == ["-m"]:
        before = before[:-1]
        ours = spec is not None and spec.name.partition(".")[0] == __package__
        ours = ours and started[0].partition(".")[0] == __package__
    else:
        ours = spec is None and _is_our_script(main, started[0])
    given = [None, *before]
    options = [
        each.startswith("-") or previous in _WITH_VALUE
        for previous, each in zip(given, before, strict=False)
    ]
    return ours and all(options)


def _is_our_script(main: object, started: str) -> bool:
    """Return whether `main` is the console script, or train.py and such beside us."""
    file = getattr(main, "__file__", None)
    if not file or not os.path.exists(started) or not os.path.samefile(file, started):
        return False
    path = pathlib.Path(file).resolve()
    beside = path.parent == pathlib.Path(__file__).resolve().parents[1]
    return path.name == __package__ or (beside and path.name in SCRIPTS)
