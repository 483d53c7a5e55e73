"""Joining other processes, and leaving them when something went wrong.

JAX's own ways to fail are hard on a user: a process that finds no other is aborted with
a stack of C++, and one with an error waits minutes for its peers before it ends, while
they wait for it. Here a process says a sentence and ends at once; its peers notice.
"""

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

from tokenjax import disk_errors
from tokenjax.errors import UserError, first_line
from tokenjax.training.settings import Settings

MISTAKE, PEER_LOST, BUG = 2, 3, 1  # exit statuses
GRACE_SECONDS = 2
SHUTDOWN_SECONDS = 3600  # process 0 may draw for long while the others are done
# What the collectives say when the other end of a connection is gone.
_LOST = (
    "gloo",
    "nccl",
    "connection reset",
    "connection closed",
    "socket closed",
    "heartbeat",
)


def join(settings: Settings) -> None:
    """Meet the other processes, if the settings say that there are any.

    Raises: UserError if it is not known where, or if that cannot be.
    """
    if not settings.distributed or jax.distributed.is_initialized():
        return
    seconds = settings.cluster.join_seconds
    where = _meeting_place(settings)
    timer = threading.Timer(seconds, _give_up, (where, seconds))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            **where,
            initialization_timeout=seconds + 60,  # then it would abort
            heartbeat_timeout_seconds=settings.cluster.heartbeat_seconds,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
        # Here all are on time, as gloo wants them when they first exchange numbers.
        multihost_utils.sync_global_devices("joined")
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(_sentence(where, first_line(error))) from error
    finally:
        timer.cancel()


@contextlib.contextmanager
def member(settings: Settings) -> Iterator[None]:
    """Join the others for what a process does with them; leave them on an error.

    Raises: UserError, or any other error, if there are no others.
    """
    join(settings)
    try:
        with disk_errors.said():
            yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        leave(error)


@contextlib.contextmanager
def ending_with_its_peers() -> Iterator[None]:
    """Leave if one of the others is gone, so that nothing waits for it any more."""
    try:
        yield
    except Exception as error:
        if jax.process_count() > 1 and _is_lost_peer(error):
            leave(error)
        raise


def leave(error: BaseException) -> NoReturn:
    """Say what happened and end this process, without a word to the others."""
    if isinstance(error, UserError):
        status = MISTAKE
        print(f"error: {error}", file=sys.stderr)
        # The end of process 0 aborts the others; most mistakes they make as well, and
        # so they have the time to say so.
        time.sleep(GRACE_SECONDS * (jax.process_index() == 0))
    elif _is_lost_peer(error):
        status = PEER_LOST
        print(
            f"error: process {jax.process_index()} of {jax.process_count()} ends, for "
            f"another one is gone ({first_line(error)}); start all of them again, and "
            "they go on from the last checkpoint",
            file=sys.stderr,
        )
    else:
        status = BUG
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # no farewell: JAX's would wait for those that wait for us


def _meeting_place(settings: Settings) -> dict[str, Any]:
    """Return arguments of `jax.distributed.initialize`, as far as anything says them.

    Raises: UserError for an environment variable that is no number.
    """
    own = settings.cluster
    address = own.coordinator_address or os.environ.get("JAX_COORDINATOR_ADDRESS")
    return {
        "coordinator_address": address,
        "num_processes": own.num_processes or _from_environment("JAX_NUM_PROCESSES"),
        "process_id": own.process_id
        if own.process_id >= 0
        else _from_environment("JAX_PROCESS_ID"),
    }


def _from_environment(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise UserError(f"{name}={text!r} in the environment is not a number")
    return int(text)


def _sentence(where: dict[str, Any], reason: str) -> str:
    if where["coordinator_address"] is None:
        return (
            "config: distributed=True, but no cluster is found here: give cluster."
            "coordinator_address (host:port of process 0), cluster.num_processes and "
            f"cluster.process_id, or see docs/clusters.md ({reason})"
        )
    me, count = where["process_id"], where["num_processes"]
    return (
        f"process {'?' if me is None else me} of {'?' if count is None else count} "
        f"cannot join the others at {where['coordinator_address']}: {reason}"
    )


def _give_up(where: dict[str, Any], seconds: int) -> None:
    reason = (
        f"not all of them came within {seconds} s; start the same command on every "
        "host, each with its own process_id, where that address can be reached, or "
        "raise cluster.join_seconds"
    )
    print(f"error: {_sentence(where, reason)}", file=sys.stderr, flush=True)
    os._exit(MISTAKE)


def _is_lost_peer(error: BaseException) -> bool:
    """Tell them by words: Gloo's come as ValueError, XLA's as JaxRuntimeError."""
    if isinstance(error, UserError) or not isinstance(error, ValueError | RuntimeError):
        return False
    return any(word in str(error).lower() for word in _LOST)
