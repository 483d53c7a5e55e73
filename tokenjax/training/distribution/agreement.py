"""What one process decides and all must follow: which checkpoint is whole, and such."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from tokenjax.errors import CheckpointError

_BYTES = 1 << 16
Answer = TypeVar("Answer")


def agreed(decide: Callable[[], Answer]) -> Answer:
    """Return `decide()` of process 0, on every process; all of them must call this.

    Args:
      decide: called on process 0 alone; returns something JSON-able.

    Raises: on process 0 what `decide` raises; elsewhere a CheckpointError that says it.
    """
    if jax.process_count() == 1:
        return decide()
    answer: dict[str, Any] = {}
    failure: Exception | None = None
    if jax.process_index() == 0:
        try:
            answer = {"value": decide()}
        except Exception as error:  # the others wait for an answer
            failure, answer = error, {"error": str(error)[:5000]}
    buffer = np.zeros(_BYTES, np.uint8)
    text = json.dumps(answer).encode()
    buffer[: len(text)] = np.frombuffer(text, np.uint8)
    shared = np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8)
    if failure is not None:
        raise failure
    answer = json.loads(shared.tobytes().rstrip(b"\0"))
    if "error" in answer:
        raise CheckpointError(answer["error"])
    return answer["value"]


def all_processes(here: bool) -> bool:
    """Return whether something holds on every process; all of them must call this."""
    if jax.process_count() == 1:
        return here
    return bool(np.all(multihost_utils.process_allgather(np.asarray(here))))
