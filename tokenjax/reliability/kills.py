"""Kills that a chaos run deals out, and how one of them is done.

The kills are spread over the steps of the run, one in each of as many equal parts, so
that the run gets on between them however slow the machine is. A kill waits until the
run has logged the step that it is meant for, then for its moment:

    step         up to a tenth of a second more
    checkpoint   until a checkpoint is being written, and up to 20 ms more
    start        not for the step, but up to three seconds from the start of the process
"""

import dataclasses
import json
import pathlib
import random
import signal
import time
from collections.abc import Callable

from tokenjax.errors import UserError
from tokenjax.reliability.processes import RunningProcesses
from tokenjax.training.checkpoints import FOLDER
from tokenjax.training.checkpoints.checkpoint_files import CheckpointFiles

MOMENTS = ("step", "checkpoint", "start")
OFTEN = (6, 5, 1)  # how often each of them comes
TEMPORARY = "*.orbax-checkpoint-tmp*"
SAVING_PATIENCE = 10.0  # seconds that a kill waits for a checkpoint to be written


@dataclasses.dataclass(frozen=True)
class Kill:
    """One kill as it is planned."""

    number: int
    name: str  # of the signal
    process: int | None  # that one alone; None: all
    moment: str
    step: int  # that the run has logged by then
    delay: float  # seconds after that

    @property
    def kind(self) -> str:
        """Name of the signal, and the process it goes to: "SIGKILL of 1"."""
        return self.name + ("" if self.process is None else f" of {self.process}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """State of the run when a kill came, and of the disk after it."""

    hit: bool  # the run had not ended before it
    logged: int  # step
    during_save: bool  # a checkpoint was being written
    statuses: list[int]  # exit statuses by process
    ended_by: str  # "itself", or "launcher" if a survivor had to be ended
    seconds: float  # until the last process was gone
    found: list[int]  # steps of the checkpoints on the disk
    whole: bool  # all of them have all of their files, checksums right
    leftover: bool  # there is a half-written one beside them


def plan(kills: int, steps: int, processes: int, seed: int) -> list[Kill]:
    """Plan the kills of a run of `steps`, as a function of the seed."""
    random_ = random.Random(seed)
    planned = []
    for number in range(kills):
        first, last = number * steps // kills, (number + 1) * steps // kills
        moment = random_.choices(MOMENTS, OFTEN)[0]
        name = random_.choice(("SIGKILL", "SIGTERM"))
        # SIGTERM comes to one process alone, the others have to hear of it.
        one = processes > 1 and (name == "SIGTERM" or random_.random() < 0.7)
        process = random_.randrange(processes) if one else None
        delay = (
            random_.random() * {"step": 0.1, "checkpoint": 0.02, "start": 3.0}[moment]
        )
        # Not in the part's last fifth: a kill too late would find the run complete.
        target = random_.randint(first + 1, max(first + 1, last - (last - first) // 5))
        step = 0 if moment == "start" else target
        planned.append(Kill(number + 1, name, process, moment, step, delay))
    return planned


def strike(
    kill: Kill, run: RunningProcesses, workdir: pathlib.Path, patience: float
) -> Outcome:
    """Wait for the kill's moment, kill, and look at what is left.

    Raises: UserError if the run failed before the kill came.
    """
    root = workdir / FOLDER
    _await(lambda: logged_step(workdir) >= kill.step, run)
    if kill.moment == "checkpoint":
        limit = time.monotonic() + SAVING_PATIENCE
        _await(lambda: _saving(root) or time.monotonic() > limit, run)
    if kill.moment == "start":
        _await(lambda: time.monotonic() > run.started + kill.delay, run)
    else:
        time.sleep(kill.delay)
    hit, logged = run.running(), logged_step(workdir)
    during = kill.moment != "start" and _saving(root)  # what lies there then is older
    if hit:
        run.signal(signal.Signals[kill.name], kill.process)
    sent = time.monotonic()
    statuses, ended_by = run.wait(patience), "itself"
    if statuses is None:
        statuses, ended_by = run.end(), "launcher"
    if not hit and any(statuses):
        raise UserError(f"the run failed by itself before a kill:\n{run.output()}")
    files = CheckpointFiles(root)
    found = files.steps()
    return Outcome(
        hit=hit,
        logged=logged,
        during_save=during,
        statuses=statuses,
        ended_by=ended_by,
        seconds=round(time.monotonic() - sent, 2),
        found=found,
        whole=all(files.is_whole(step) for step in found),
        leftover=_saving(root),
    )


def logged_step(workdir: pathlib.Path) -> int:
    """Return the step of the last whole row of metrics.jsonl; 0 without any."""
    path = workdir / "metrics.jsonl"
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - 4096, 0))
            lines = file.read().decode().split("\n")[:-1]
    except FileNotFoundError:
        return 0
    return json.loads(lines[-1])["step"] if lines else 0


def _saving(root: pathlib.Path) -> bool:
    return any(root.glob(TEMPORARY))


def _await(condition: Callable[[], bool], run: RunningProcesses) -> None:
    while run.running() and not condition():
        time.sleep(0.005)
