"""How many of a CPU's cores this process, and with it XLA and PyTorch, may use.

XLA starts a thread for each core that the process may use when jax starts; PyTorch is
told the number besides. Both are bound to the same cores, so neither can use more,
whatever it starts.
"""

import contextlib
import os
import pathlib

import jax

from tokenjax.errors import UserError

FLAG = "--threads"
_THREADS = pathlib.Path("/proc/self/task")  # a folder for each thread


def count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bind(threads: int) -> None:
    """Bind this process to so many of its cores; 0 leaves it all that it has.

    To be called before jax starts.

    Raises: UserError for more than there are, where the system cannot bind a process,
      or where no CPU computes.
    """
    if not threads:
        return
    if not (hasattr(os, "sched_setaffinity") and _THREADS.is_dir()):
        raise UserError(f"{FLAG} needs a system that binds a process to cores: Linux")
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        raise UserError(
            f"{FLAG} {threads}: this process may use {len(cores)} "
            f"{'core' if len(cores) == 1 else 'cores'}"
        )
    for thread in _THREADS.iterdir():  # numpy has started some
        with contextlib.suppress(ProcessLookupError):  # it has ended since
            os.sched_setaffinity(int(thread.name), cores[:threads])
    platform = jax.devices()[0].platform
    if platform != "cpu":
        raise UserError(
            f"{FLAG} is of a CPU's cores, and jax computes on a {platform} here: "
            "set JAX_PLATFORMS=cpu, or leave it out"
        )
