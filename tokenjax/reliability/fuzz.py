"""Damage input at random, a thousand times over, and see that none of it gets by.

    python -m tokenjax.reliability.fuzz --seeds 1000 [--first 0] [--json fuzz.json] \\
        [--target images,configs,state_dicts,checkpoints] [--directory DIR]

Every seed makes one input, whole or damaged, in an empty directory and has the library
read it. That is "handled" (what was read is what it must be) or "refused" (a sentence).
A failure is any other exception, something else read than was written, more than
`CPU_SECONDS` of processor time or more than `MEMORY` bytes in one seed. Exit status 1
if there was any. What each target makes and holds the result to stands in its module,
tokenjax/reliability/damaged_*.py.
"""

import contextlib
import dataclasses
import faulthandler
import importlib
import importlib.util
import json
import pathlib
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags, logging

from tokenjax import path_flags, tables
from tokenjax.errors import UserError, unknown_name
from tokenjax.tables import Column

TARGETS = ("checkpoints", "configs", "images", "state_dicts")
CPU_SECONDS = 20.0
WALL_SECONDS = 600.0  # of one that hangs where Python cannot interrupt it
MEMORY = 2**30


class TooLongError(BaseException):
    """Signal of a seed that takes too long; no `except Exception` stops it."""


@dataclasses.dataclass
class Outcome:
    """Results of a target's seeds."""

    target: str
    seeds: int = 0
    handled: int = 0
    refused: int = 0
    failures: dict[int, str] = dataclasses.field(default_factory=dict)


def run_seed(target: str, seed: int, directory: pathlib.Path) -> str:
    """Run one seed in an empty directory; return "handled: ..." or "refused: ...".

    Raises: whatever the failure is.
    """
    module = importlib.import_module(f"tokenjax.reliability.damaged_{target}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _deadline():
        result: str = module.run(seed, directory)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MEMORY:
        raise AssertionError(f"took {grown >> 20} MiB of memory: {result}")
    if not result.startswith(("handled: ", "refused: ")):
        raise AssertionError(f"neither handled nor refused: {result}")
    if "\n" in result or not result.strip():
        raise AssertionError(f"more than a line: {result}")
    return result


@contextlib.contextmanager
def _deadline() -> Iterator[None]:
    """Raise TooLongError after CPU_SECONDS; end the program if that is stuck too."""

    def stop(*_: object) -> None:
        raise TooLongError(f"took more than {CPU_SECONDS:g} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    with contextlib.suppress(AttributeError, OSError, ValueError):  # stderr no file
        faulthandler.dump_traceback_later(WALL_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def run_target(target: str, first: int, seeds: int, directory: pathlib.Path) -> Outcome:
    """Run seeds first, first + 1, ... of one target, under a bar."""
    from tqdm import tqdm

    outcome = Outcome(target)
    for seed in tqdm(range(first, first + seeds), target, unit="seed"):
        outcome.seeds += 1
        try:
            result = run_seed(target, seed, directory)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and TooLongError too
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{pathlib.Path(last.filename).name}:{last.lineno}"
            reason = str(error).strip().partition("\n")[0]
            outcome.failures[seed] = f"{type(error).__name__} {reason} ({where})"
        else:
            outcome.handled += result.startswith("handled")
            outcome.refused += result.startswith("refused")
    return outcome


COLUMNS: tuple[Column[Outcome], ...] = (
    Column("target", lambda outcome: outcome.target),
    Column("seeds", lambda outcome: outcome.seeds, "d"),
    Column("handled", lambda outcome: outcome.handled, "d"),
    Column("refused", lambda outcome: outcome.refused, "d"),
    Column("failures", lambda outcome: len(outcome.failures), "d"),
)


def define_flags(values: flags.FlagValues) -> None:
    """Define what is damaged, and how often."""
    options: Any = {"flag_values": values}
    flags.DEFINE_list("target", list(TARGETS), f"of {', '.join(TARGETS)}", **options)
    flags.DEFINE_integer("seeds", 1000, "how many", lower_bound=1, **options)
    flags.DEFINE_integer("first", 0, "the first of them", lower_bound=0, **options)
    path_flags.define("json", "", "a file to write the table to as well", values)
    text = "where seeds work; default: a temporary one"
    path_flags.define("directory", "", text, values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Run the targets that the flags ask for, and print the table.

    Raises: UserError for a target that is not there.
    """
    targets = values.target
    for target in targets:
        if target not in TARGETS:
            raise UserError(unknown_name("target", target, TARGETS))
    if "state_dicts" in targets and importlib.util.find_spec("torch") is None:
        raise UserError(
            "--target: state_dicts are damaged PyTorch files: pip install torch, or "
            "name the other targets"
        )
    logging.set_verbosity(logging.ERROR)  # what is passed over is said by the thousand
    given = values.directory
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(given or temporary) / "seed"
        outcomes = [
            run_target(target, values.first, values.seeds, directory)
            for target in targets
        ]
    print("\n".join(tables.text_lines(outcomes, COLUMNS)))
    for outcome in outcomes:
        for seed, error in outcome.failures.items():
            print(f"{outcome.target}, seed {seed}: {error}")
    if values.json:
        text = json.dumps([dataclasses.asdict(o) for o in outcomes], indent=2)
        pathlib.Path(values.json).write_text(text + "\n", encoding="utf-8")
    sys.exit(1 if any(outcome.failures for outcome in outcomes) else 0)


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.fuzz", run_name="__main__")
