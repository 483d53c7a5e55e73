"""Checkpoints of a run: the newest few and the best, asynchronous, checksummed.

`checkpoint_files` tells what lies where, `checkpoint_damage` what becomes of damage.
Orbax (0.12) writes; these of its traps are closed here: `best_fn` with `max_to_keep`
deletes the newest checkpoint when it is not among the best, so `retention` has a policy
of its own; a flipped bit is restored in silence, so every restore is preceded
by a check; one unreadable file of any checkpoint stops its manager, which is therefore
made late, when such checkpoints are out of its way.

Of two equally good checkpoints the newer one is the best. With several processes,
process 0 alone looks, renames and deletes, and all follow it.
"""

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.typing import VariableDict
from jax.sharding import Sharding

from tokenjax import disk_errors, paths, storage
from tokenjax.card import Card
from tokenjax.errors import CheckpointError, first_line
from tokenjax.training.checkpoints import checkpoint_damage, retention
from tokenjax.training.checkpoints.checkpoint_files import (
    CARD_KEY,
    DELETED,
    FORMAT,
    FORMAT_KEY,
    METRIC,
    CheckpointFiles,
)
from tokenjax.training.distribution.agreement import agreed, all_processes
from tokenjax.training.settings import Checkpoint

FOLDER = "checkpoints"
State = TypeVar("State")  # a tree of arrays


class _Manager(ocp.CheckpointManager):
    """Orbax's, without a counting of steps that would upset `signals.StopRequest`'s."""

    def reached_preemption(self, step: int) -> bool:
        """Return no: the loop asks for itself."""
        del step
        return False


class Checkpoints:
    """The checkpoints below a workdir; use as a context manager."""

    def __init__(
        self,
        workdir: pathlib.Path,
        settings: Checkpoint | None = None,
        writable: bool = True,
        card: Card | None = None,
    ):
        """Open them; `settings` say what is kept, `card` is written into each."""
        self.root = paths.resolve(workdir, "workdir") / FOLDER
        self._files = CheckpointFiles(self.root)
        self._settings = settings or Checkpoint()
        self._custom: dict[str, Any] = {FORMAT_KEY: FORMAT}
        if card is not None:
            self._custom[CARD_KEY] = card.to_json()
        self._manager: ocp.CheckpointManager | None = None
        self._failed = False
        self._saving: int | None = None  # the step that is on its way to the disk
        if not writable and not self.root.is_dir():
            raise CheckpointError(f"{workdir} holds no checkpoints: train there first")
        if writable:
            with disk_errors.said(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                if jax.process_index() == 0:
                    self._files.clear()
        # As long as it is open, nothing that is made anew can be taken for it.
        self._handle = os.open(self.root, os.O_RDONLY)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except CheckpointError:
            if error is None:  # else the first trouble is the one to tell
                raise
        finally:
            os.close(self._handle)
            if self._manager is not None:
                # After a failure, which was told, Orbax's threads tell theirs.
                echoes = (Exception,) if self._failed else ()
                with contextlib.suppress(*echoes):
                    self._manager.wait_until_finished()
                with contextlib.suppress(*echoes):
                    self._manager.close()

    def card(self, step: int) -> Card | None:
        """Return the card in a checkpoint; None in those of before cards.

        Raises: CheckpointError if it was edited, or is of a format to come.
        """
        return self._files.card(step)

    def steps(self) -> list[int]:
        """Return the steps on disk, ascending."""
        self.wait()
        return self._files.steps()

    def pick(self, which: str) -> int | None:
        """Return the step of the "last" or "best" checkpoint; None without any.

        Raises: CheckpointError if which one is best cannot be told for damage.
        """
        steps = self.steps()
        if which == "best":
            return checkpoint_damage.pick_best(self._files)
        return steps[-1] if steps else None

    def save(self, step: int, state: State, metric: float | None) -> None:
        """Start saving; a step that is there already is left alone.

        Args:
          step: updates done.
          state: the tree to save.
          metric: what "best" is judged by, larger is better; None if not evaluated.

        Raises: CheckpointError if this one, or the one before it, cannot be written.
        """
        self._join()
        if step in self._files.steps():
            return
        args = ocp.args.Composite(state=ocp.args.PyTreeSave(_to_save(state)))
        agreed(self._prepare)
        if self._manager is None:
            self._manager = self._open_manager()
        self._saving = step
        try:
            with _unsaid("did not provide metrics"):  # not every one is evaluated
                self._manager.save(
                    step,
                    args=args,
                    metrics=None if metric is None else {METRIC: float(metric)},
                    custom_metadata=self._custom,
                )
        except Exception as error:
            self._give_up(error)
            raise

    def wait(self) -> None:
        """Return when everything that was started is on disk, checksums included.

        Raises: CheckpointError if it could not be written.
        """
        if self._join() and jax.process_index() == 0:
            self._files.clear()

    def _join(self) -> bool:
        """Wait, what Orbax gave up staying; whether anything was on its way."""
        if self._saving is None or self._manager is None:
            return False
        try:
            self._manager.wait_until_finished()
            if self._is_gone():
                raise CheckpointError(disk_errors.deleted(self.root))
        except Exception as error:
            self._give_up(error)
            raise
        self._saving = None
        return True

    def restore_last(self, like: State, sharding: Sharding | State) -> State | None:
        """Return the newest whole state, as `restore` reads it; None without any.

        Damaged ones that are newer are named on stderr and set aside, not deleted.

        Raises: CheckpointError if none is whole, or if the newest whole one belongs to
          another model.
        """
        self.wait()
        damaged: dict[int, str] = {}
        while True:
            step, checked = agreed(
                lambda: checkpoint_damage.newest_whole(self._files, damaged)
            )
            if step is None:
                return None
            where, state, error = self._files.directory(step), None, None
            try:
                state = checkpoint_damage.read_state(where, like, sharding)
            except CheckpointError as caught:
                error = caught
            if all_processes(error is None):
                break
            if checked or all_processes(checkpoint_damage.is_readable(where)):
                raise error or CheckpointError(f"another process cannot read {where}")
            damaged[step] = f"{where} is damaged: Orbax cannot read it"
        agreed(lambda: checkpoint_damage.settle(self._files, step, checked, damaged))
        return state

    def restore(self, step: int, like: State, sharding: Sharding | State) -> State:
        """Read a state with the structure, shapes and types of `like`.

        Raises: CheckpointError if it is damaged or belongs to another model.
        """
        self.wait()
        agreed(lambda: checkpoint_damage.check(self._files, step))
        where = self._files.directory(step)
        return checkpoint_damage.read_state(where, like, sharding)

    def restore_variables(self, step: int) -> VariableDict:
        """Return the evaluated variables as numpy arrays, whatever model made them.

        Raises: CheckpointError if the checkpoint is damaged.
        """
        self.wait()
        agreed(lambda: checkpoint_damage.check(self._files, step))
        where = self._files.directory(step)
        state = storage.read_arrays(where / "state")
        if not isinstance(state, dict) or not {"params", "model_state"} <= set(state):
            raise CheckpointError(f"{where} holds no parameters of a run of tokenjax")
        averaged = state.get("ema_params")
        params = state["params"] if averaged is None else averaged
        return {"params": params, **(state["model_state"] or {})}

    def _open_manager(self) -> ocp.CheckpointManager:
        steps, metric_of = self._files.steps(), self._files.metric
        unevaluated = frozenset(step for step in steps if metric_of(step) is None)
        asynchronous = ocp.options.AsyncOptions(
            post_finalization_callback=self._sign,
            # Else, if that fails, Orbax's other threads wait five minutes for it.
            create_directories_asynchronously=False,
        )
        return _Manager(
            self.root,
            options=ocp.CheckpointManagerOptions(
                best_fn=_metric,  # without one Orbax writes no metrics
                # Orbax would do both from threads that outlive a quick end.
                create=False,
                cleanup_tmp_directories=False,
                # A kill while it deletes would leave half a checkpoint in the list.
                todelete_subdir=DELETED,
                async_options=asynchronous,
                preservation_policy=retention.policy(self._settings, unevaluated),
            ),
        )

    def _prepare(self) -> None:
        """Look for trouble before Orbax starts threads, which outlive a failure.

        And make room first: what Orbax gave up at the last save goes.

        Raises: UserError.
        """
        if self._is_gone():  # Orbax would make it again
            raise CheckpointError(disk_errors.deleted(self.root))
        self._files.clear_given_up()
        disk_errors.probe(self.root)
        if self._manager is None:
            checkpoint_damage.set_unlistable_aside(self._files)

    def _sign(self) -> None:
        """Write checksums: Orbax calls it before it renames what it has written."""
        if self._saving is not None:
            self._files.write_checksums(self._saving)

    def _give_up(self, error: Exception) -> None:
        """Remove what is half-written, and says what went wrong.

        Raises: CheckpointError, unless it is of a kind that only a bug makes.
        """
        step, self._saving, self._failed = self._saving, None, True
        if self._is_gone():
            raise CheckpointError(disk_errors.deleted(self.root)) from error
        reason = disk_errors.trouble(error)
        if reason is None and disk_errors.vanished(error):
            reason = "its files vanished as they were written; were they deleted?"
        elif reason is None and isinstance(error, (OSError, ValueError, RuntimeError)):
            reason = first_line(error)  # what came of it, or of a process that is gone
        if reason is None or step is None:
            return
        if jax.process_index() == 0:
            with contextlib.suppress(OSError):
                self._files.clear()
        whole = [str(other) for other in self._files.steps()]
        saved = f"saved are {', '.join(whole)}" if whole else "none is saved yet"
        where = self._files.directory(step)
        raise CheckpointError(
            f"{where} could not be saved: {reason} ({saved})"
        ) from error

    def _is_gone(self) -> bool:
        """Return whether the directory of this name is another than was opened."""
        try:
            return not os.path.samestat(os.fstat(self._handle), os.stat(self.root))
        except FileNotFoundError:
            return True


@contextlib.contextmanager
def _unsaid(words: str) -> Iterator[None]:
    """Keep Orbax from logging lines with these words, which are no news."""

    def is_news(record: logging.LogRecord) -> bool:
        return words not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _metric(metrics: dict[str, float]) -> float:
    return metrics[METRIC]


def _to_save(state: State) -> State:
    """Return copies on the host where one process has all: the next step takes arrays.

    Of numpy's Orbax makes less work than of JAX's (docs/reliability.md).
    """
    if jax.process_count() > 1:
        return state
    for array in jax.tree.leaves(state):
        if isinstance(array, jax.Array):
            array.copy_to_host_async()
    return jax.tree.map(np.array, state)
