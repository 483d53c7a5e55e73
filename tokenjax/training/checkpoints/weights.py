"""Read weights of a run or of a converted checkpoint, with their card."""

import pathlib
from typing import NamedTuple

from flax.typing import VariableDict

from tokenjax import card as cards
from tokenjax import paths, storage
from tokenjax.card import Card
from tokenjax.errors import CheckpointError
from tokenjax.training.checkpoints.checkpoint_files import CheckpointFiles
from tokenjax.training.checkpoints.run_checkpoints import FOLDER, Checkpoints


def has_begun(workdir: pathlib.Path) -> bool:
    """Return whether a workdir holds a checkpoint to go on from."""
    return bool(CheckpointFiles(workdir / FOLDER).steps())


class Weights(NamedTuple):
    """Weights as they were read, and what they are of.

    Attributes:
      variables: {"params": ..., ...} as numpy arrays; averaged parameters where a run
        kept them.
      card: None where there is none, as before there were any.
      where: the directory that was read.
      step: of a run, the updates done.
    """

    variables: VariableDict
    card: Card | None
    where: pathlib.Path
    step: int | None = None


def load_weights(directory: pathlib.Path, which: str = "best") -> Weights:
    """Return weights of a converted checkpoint or of a run's workdir.

    `which` is "best" or "last", of a run.

    Raises: CheckpointError.
    """
    directory = paths.resolve(directory, "checkpoint")
    if not directory.is_dir():
        raise CheckpointError(f"no directory {directory}")
    if not any((directory / name).exists() for name in (FOLDER, storage.CHECKSUMS)):
        raise CheckpointError(f"{directory} holds no run and no converted checkpoint")
    if not (directory / FOLDER).is_dir():
        converted, _ = storage.load_variables(directory)
        return Weights(converted, cards.read(directory), directory)
    beside = cards.read(directory)
    with Checkpoints(directory, writable=False) as checkpoints:
        step = checkpoints.pick(which)
        if step is None:
            raise CheckpointError(f"{directory / FOLDER} holds no checkpoint")
        variables = checkpoints.restore_variables(step)
        card = checkpoints.card(step) or beside
        return Weights(variables, card, directory, step)


def read_card(directory: pathlib.Path, which: str = "best") -> Card | None:
    """Return the card of what `load_weights` would read, without reading arrays.

    Raises: CheckpointError.
    """
    beside = cards.read(directory)
    if not (directory / FOLDER).is_dir():
        return beside
    with Checkpoints(directory, writable=False) as checkpoints:
        step = checkpoints.pick(which)
        return (None if step is None else checkpoints.card(step)) or beside


def load_initial_variables(
    directory: pathlib.Path, which: str = "best"
) -> VariableDict:
    """Return the variables that `load_weights` reads."""
    return load_weights(directory, which).variables
