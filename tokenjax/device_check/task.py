"""What a step's process is told, in a JSON file."""

import dataclasses
import pathlib

from tokenjax import storage


@dataclasses.dataclass(frozen=True)
class Task:
    """One step to be done.

    Attributes:
      name, module, arguments: of the step.
      findings: the file for what it finds.
      started: when its process was started, as `time.time` has it.
      seconds: its limit.
      ends: the moment at which the whole check does, as `time.time` has it.
      tiny: small sizes: to see that everything runs.
      peak: FLOPs a second of a measured product, in the type that models are measured
        in; None if none is known.
      turns: the folder of `turns`, "" to ask nobody.
      work: a folder for its files, which goes when the check ends.
    """

    name: str
    module: str
    arguments: dict[str, object]
    findings: str
    started: float
    seconds: float
    ends: float
    tiny: bool
    peak: float | None
    turns: str
    work: str


def write(path: pathlib.Path, task: Task) -> None:
    """Write a task."""
    storage.write_json(path, dataclasses.asdict(task))


def read(path: pathlib.Path) -> Task:
    """Read what `write` wrote."""
    return Task(**storage.read_json(path))
