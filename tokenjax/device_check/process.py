"""What runs in a step's process: `python -m tokenjax.device_check.process TASK`.

It ends with status 0 whatever it found, for that is in the file of its findings; any
other status is a crash.
"""

import importlib
import os
import pathlib
import signal
import sys
import threading
import time
import traceback

from tokenjax import command_line
from tokenjax.device_check import task as tasks
from tokenjax.device_check.findings import Findings, Skipped
from tokenjax.device_check.turns import Turns
from tokenjax.errors import UserError, first_line

STEPS = "tokenjax.device_check.steps"


def main(file: str) -> None:
    """Do the step of a task's file."""
    task = tasks.read(pathlib.Path(file))
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    turns = Turns(pathlib.Path(task.turns), task.name) if task.turns else None
    path = pathlib.Path(task.findings)
    findings = Findings(path, task.started, turns, task.seconds, task.ends)
    try:
        command_line.enable_compilation_cache()
        module = importlib.import_module(f"{STEPS}.{task.module}")
        module.find(task, findings)
    except Skipped as reason:
        findings.skip(str(reason))
    except UserError as error:
        findings.fail(str(error))
    except ModuleNotFoundError as error:
        _take_missing(error, findings)
    except Exception as error:
        traceback.print_exc()
        findings.fail(f"{type(error).__name__}: {first_line(error)}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that still compile are not waited for


def _take_missing(error: ModuleNotFoundError, findings: Findings) -> None:
    """Leave out a step for which a library is missing; one of our own is a failure."""
    name = error.name or str(error)
    if name.partition(".")[0] == "tokenjax":
        findings.fail(str(error))
    else:
        findings.skip(f"{name} is not installed")


def _end_with(parent: int) -> None:
    """End this process's group when whoever started it is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
