"""What is done about damaged checkpoints: passed over and set aside, or refused.

A run that goes on takes the newest whole one: those that are newer are named on stderr
and renamed, so that their steps can be saved again. Whoever asks for one by name
("best", step 40) is refused, and told which are whole.
"""

import pathlib
from typing import TypeVar

import jax
import orbax.checkpoint as ocp
from jax.sharding import Sharding

from tokenjax import storage
from tokenjax.errors import CheckpointError, DamagedCheckpointError, first_line
from tokenjax.training.checkpoints.checkpoint_files import CheckpointFiles
from tokenjax.training.checkpoints.retention import best_of
from tokenjax.training.observation.progress import warn

State = TypeVar("State")  # a tree of arrays


def newest_whole(
    files: CheckpointFiles, damaged: dict[int, str]
) -> tuple[int | None, bool]:
    """Return (step, whether checksums vouch for it), step None without any checkpoint.

    Args:
      files: of the run.
      damaged: steps to pass over, and why; those that are found here are added.

    Raises: CheckpointError if there are checkpoints and none is whole, or for a format
      that is not known yet.
    """
    for step in reversed(files.steps()):
        if step not in damaged:
            try:
                return step, files.check(step)
            except DamagedCheckpointError as error:
                damaged[step] = str(error)
    if damaged:
        raise CheckpointError(
            f"{'; '.join(damaged.values())}; no checkpoint there is whole: delete "
            f"{files.root} to start the run anew"
        )
    return None, False


def settle(
    files: CheckpointFiles, step: int, checked: bool, damaged: dict[int, str]
) -> None:
    """Set aside what was passed over for `step`; says so, and what is not sure."""
    where = files.directory(step)
    for other, reason in damaged.items():
        place = files.set_aside(other)
        warn(f"{reason}; going on from {where}, with that one kept as {place}")
    if not checked:
        warn(f"{where} had no checksums: it was read unchecked and gets them now")
        files.write_checksums(step)


def set_unlistable_aside(files: CheckpointFiles) -> None:
    """Set aside those over whose small files Orbax's manager would stumble."""
    for step in files.steps():
        try:
            files.glance(step)
        except DamagedCheckpointError as error:
            warn(f"{error}; it is kept as {files.set_aside(step)}")


def check(files: CheckpointFiles, step: int) -> None:
    """Raise CheckpointError if it is damaged, which tells those that are not."""
    try:
        checked = files.check(step)
    except DamagedCheckpointError as error:
        raise with_advice(files, step, error) from error
    if not checked:
        warn(f"{files.directory(step)} has no checksums: it is read unchecked")


def pick_best(files: CheckpointFiles) -> int | None:
    """Return the step with the largest metric, of equal ones the newest.

    Raises: DamagedCheckpointError if a metric cannot be trusted.
    """
    metrics: dict[int, float | None] = {}
    for step in files.steps():
        try:
            metrics[step] = files.metric(step)
        except DamagedCheckpointError as error:
            raise with_advice(files, step, error) from error
    return best_of(metrics)


def with_advice(
    files: CheckpointFiles, step: int, error: Exception
) -> DamagedCheckpointError:
    """Return the error, with what can be done now."""
    where = files.directory(step)
    whole = [str(s) for s in files.steps() if s != step and files.is_whole(s)]
    if whole:
        advice = f"whole are {', '.join(whole)}; delete {where} to go on without it"
    else:
        advice = f"no other one is whole: delete {files.root} to start anew"
    return DamagedCheckpointError(f"{error}; {advice}")


def read_state(
    directory: pathlib.Path, like: State, sharding: Sharding | State
) -> State:
    """Read one checkpoint's state, with the structure, shapes and types of `like`.

    Args:
      directory: of the checkpoint.
      like: arrays, or their shapes and types.
      sharding: one for all, or a tree like `like`.

    Raises: CheckpointError if Orbax cannot read it so.
    """
    if isinstance(sharding, Sharding):
        sharding = jax.tree.map(lambda _: sharding, like)
    abstract = jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        like,
        sharding,
    )
    arguments = ocp.checkpoint_utils.construct_restore_args(abstract)
    item = ocp.args.PyTreeRestore(abstract, restore_args=arguments)
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            return checkpointer.restore(directory / "state", args=item)
    except Exception as error:  # Orbax raises whatever the difference led to
        raise CheckpointError(
            f"{directory} cannot be read into this model ({type(error).__name__}: "
            f"{first_line(error)}): another configuration made it, or it is damaged; "
            f"name another --workdir, or delete {directory} to go on without it"
        ) from error


def is_readable(directory: pathlib.Path) -> bool:
    """Return whether Orbax reads it at all, whatever model made it."""
    try:
        storage.read_arrays(directory / "state")
    except CheckpointError:
        return False
    return True
