"""Batches made by several processes, in order, by Grain.

Batch i is a function of its number, whatever process makes it, so the stream does not
depend on how many there are, and there is no state to keep: process k of n makes
batches k, k + n, ... from the first one that is asked for. Arrays come back through
shared memory.
"""

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tokenjax.data.threads import core_count, limit_threads
from tokenjax.errors import DatasetError, first_line

if TYPE_CHECKING:
    from grain import IterDataset

Batch = dict[str, np.ndarray]
MOST_PROCESSES = 256
AHEAD = 2  # batches that each process makes before they are asked for


def make_in_processes(
    make: Callable[[int], Batch], start: int, stop: int, processes: int
) -> Iterator[Batch]:
    """Yield make(start) to make(stop - 1), each made by one of `processes`.

    Raises: DatasetError if `make` cannot be sent to another process, for a process that
      is killed, and what `make` raises.
    """
    plan = _plan(make, start, stop, processes)
    _check_sendable(make)
    stream = iter(plan)
    try:
        while (batch := _take(stream)) is not None:
            yield batch
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        raise DatasetError(
            f"a process that reads images ended: {first_line(error)} It was killed, "
            "perhaps for want of memory: try fewer reading_processes"
        ) from error
    finally:
        stream.close()
        # What was made ahead lies in cycles; its shared memory goes with them.
        del stream, plan
        gc.collect()


def _take(stream: Iterator[Batch]) -> Batch | None:
    """Return the next batch, None at the end.

    Copied: its shared memory is given back at once, not when the last device that
    borrows it lets go.
    """
    batch = next(stream, None)
    if batch is None:
        return None
    return {name: np.array(array) for name, array in batch.items()}


def _plan(
    make: Callable[[int], Batch], start: int, stop: int, processes: int
) -> "IterDataset[Batch]":
    try:
        import grain
    except ImportError as error:
        raise DatasetError(
            f"reading_processes needs Grain ({first_line(error)}): pip install grain"
        ) from error
    from absl import flags

    if not flags.FLAGS.is_parsed():  # in a notebook; Grain's own flags are read
        flags.FLAGS.mark_as_parsed()
    one_by_one = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    share = max(core_count() // processes, 1)
    return (
        grain.MapDataset.range(start, stop)
        .map(make)
        .to_iter_dataset(one_by_one)
        .mp_prefetch(
            grain.MultiprocessingOptions(processes, per_worker_buffer_size=AHEAD),
            worker_init_fn=partial(_start, share),
        )
    )


def _check_sendable(make: Callable[[int], Batch]) -> None:
    import cloudpickle  # what Grain sends it by

    try:
        cloudpickle.dumps(make)
    except Exception as error:  # whatever an object's own pickling raises
        raise DatasetError(
            f"this data source cannot be read by other processes ({first_line(error)}):"
            " set reading_processes=0"
        ) from error


def _start(threads: int, number: int, count: int) -> None:
    """Begin as a process that reads: the one that was started heeds the signals."""
    del number, count
    limit_threads(threads)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, killed perhaps."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
