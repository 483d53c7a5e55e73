"""Checkpoints of a run: the newest few and the best, asynchronous, checksummed.

    workdir/checkpoints/<step>/             Orbax: the state
    workdir/checkpoints/checksums/<step>    sha256 of every file of it

Two Orbax traps are closed here (0.12): `best_fn` with `max_to_keep` deletes the newest
checkpoint when it is not among the best, so two preservation policies are joined; and a
flipped bit is restored in silence, so every restore is preceded by a check. A process
killed between Orbax's commit and ours leaves a whole checkpoint without checksums,
which is accepted.
"""

import pathlib
import shutil
import threading
import time
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from tokenjax import storage
from tokenjax.errors import CheckpointError

FOLDER = "checkpoints"
_METRIC = "best_metric"
_NOT_EVALUATED = -1.0


class Checkpoints:
    """The checkpoints below a workdir; use as a context manager."""

    def __init__(self, workdir: pathlib.Path, keep: int = 2, writable: bool = True):
        self.root = workdir.absolute() / FOLDER
        if not writable and not self.root.is_dir():
            raise CheckpointError(f"{workdir} holds no checkpoints: train there first")
        if writable:
            # Orbax would do both from threads that outlive a quick end of the program.
            self.root.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:
                for leftover in self.root.glob("*.orbax-checkpoint-tmp*"):
                    shutil.rmtree(leftover, ignore_errors=True)
        policies = [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(get_metric_fn=_metric, n=1),
        ]
        self._manager = ocp.CheckpointManager(
            self.root,
            options=ocp.CheckpointManagerOptions(
                best_fn=_metric,
                best_mode="max",
                create=False,
                cleanup_tmp_directories=False,
                read_only=not writable,
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            ),
        )
        self._hashing: threading.Thread | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._manager.close()

    def steps(self) -> list[int]:
        """Steps on disk, ascending."""
        return sorted(self._manager.all_steps())

    def pick(self, which: str) -> int | None:
        """The step of the "last" or "best" checkpoint; None without any."""
        if which == "best":
            return self._manager.best_step()
        return self._manager.latest_step()

    def save(self, step: int, state: Any, metric: float | None) -> None:
        """Starts saving; a step that is there already is left alone.

        Args:
          step: updates done.
          state: the tree to save.
          metric: what "best" is judged by, larger is better; None if not evaluated.
        """
        if step in self._manager.all_steps():
            return
        self.wait()
        value = _NOT_EVALUATED if metric is None else float(metric)
        args = ocp.args.Composite(state=ocp.args.PyTreeSave(state))
        self._manager.save(step, args=args, metrics={_METRIC: value})
        if jax.process_index() == 0:
            self._hashing = threading.Thread(target=self._hash, args=(step,))
            self._hashing.start()

    def wait(self) -> None:
        """Returns when everything that was started is on disk, checksums included."""
        self._manager.wait_until_finished()
        if self._hashing is not None:
            self._hashing.join()
            self._hashing = None
            self._drop_old_checksums()

    def restore(self, step: int, like: Any, sharding: Any) -> Any:
        """Reads a state with the structure, shapes and types of `like`.

        Raises: CheckpointError if it is damaged or belongs to another model.
        """
        self._verify(step)
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like
        )
        arguments = ocp.checkpoint_utils.construct_restore_args(abstract)
        return self._read(
            step, ocp.args.PyTreeRestore(abstract, restore_args=arguments)
        )

    def restore_variables(self, step: int) -> dict[str, Any]:
        """The evaluated variables as numpy arrays, whatever model made them.

        Raises: CheckpointError if the checkpoint is damaged.
        """
        self._verify(step)
        state = storage.read_arrays(self.root / str(step) / "state")
        averaged = state.get("ema_params")
        params = state["params"] if averaged is None else averaged
        return {"params": params, **(state["model_state"] or {})}

    def _verify(self, step: int) -> None:
        sidecar = self._sidecar(step)
        if not sidecar.exists():
            return
        directory = self.root / str(step)
        try:
            storage.verify_directory(directory, storage.read_json(sidecar))
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {self._advice(step)}") from error

    def _read(self, step: int, item: ocp.args.PyTreeRestore) -> Any:
        try:
            args = ocp.args.Composite(state=item)
            return self._manager.restore(step, args=args).state
        except Exception as error:  # Orbax raises whatever the difference led to
            reason = str(error).strip().splitlines()[0][:300] if str(error) else ""
            raise CheckpointError(
                f"{self.root / str(step)} cannot be read into this model "
                f"({type(error).__name__}: {reason}): another configuration made it, "
                f"or it is damaged; {self._advice(step)}"
            ) from error

    def _advice(self, step: int) -> str:
        return f"delete {self.root / str(step)} to go on from an earlier one"

    def _sidecar(self, step: int) -> pathlib.Path:
        return self.root / "checksums" / f"{step}.json"

    def _drop_old_checksums(self) -> None:
        """Of steps that Orbax has deleted, which it does after saving the newest."""
        for sidecar in self._sidecar(0).parent.glob("*.json"):
            if not (self.root / sidecar.stem).exists():
                sidecar.unlink(missing_ok=True)

    def _hash(self, step: int) -> None:
        directory = self.root / str(step)
        while not directory.exists():  # Orbax renames it here when it is whole
            if not self._manager.is_saving_in_progress():
                return
            time.sleep(0.02)
        sidecar = self._sidecar(step)
        sidecar.parent.mkdir(exist_ok=True)
        storage.write_json(sidecar, storage.directory_checksums(directory))


def _metric(metrics: dict[str, float]) -> float:
    return metrics[_METRIC]


def load_initial_variables(directory: pathlib.Path, which: str = "best") -> Any:
    """Variables from a converted checkpoint or from another run's workdir.

    Returns: {"params": ..., ...} as numpy arrays; averaged parameters where a run kept
    them.

    Raises: CheckpointError.
    """
    if not (directory / FOLDER).is_dir():
        return storage.load_variables(directory)[0]
    with Checkpoints(directory, writable=False) as checkpoints:
        step = checkpoints.pick(which)
        if step is None:
            raise CheckpointError(f"{directory / FOLDER} holds no checkpoint")
        return checkpoints.restore_variables(step)
