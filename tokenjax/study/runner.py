"""Runs a study's runs as processes of their own, a few at a time, each on its cores."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import tqdm

from tokenjax import storage
from tokenjax.errors import UserError
from tokenjax.study.plan import StudyRun

DONE = "evaluation.json"
SECONDS = "seconds.json"  # wall time of a run's processes so far


def run_all(
    runs: list[StudyRun],
    command: list[str],
    root: pathlib.Path,
    jobs: int,
    finished: Callable[[StudyRun], object] = lambda run: None,
) -> None:
    """Train what is not finished yet; each process's output goes to its log.txt.

    `command`, with "--run NAME" and "--workdir ROOT" added, does one run; `finished` is
    called with it afterwards.

    Raises: UserError naming the first run that failed, the others having been stopped
    (they go on with the next call).
    """
    waiting = [run for run in runs if not (run.workdir(root) / DONE).exists()]
    slots = _core_slots(jobs)
    free = list(range(len(slots)))
    running: dict[int, tuple[StudyRun, subprocess.Popen, float]] = {}
    bar = tqdm.tqdm(total=len(runs), initial=len(runs) - len(waiting), unit="run")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of `finally`
    try:
        while waiting or running:
            while free and (ready := [r for r in waiting if _ready(r, root)]):
                awaited = {(r.dataset, r.needs, r.seed) for r in waiting}
                ready.sort(key=lambda r: (r.dataset, r.variant, r.seed) not in awaited)
                run, slot = ready[0], free.pop(0)
                waiting.remove(run)
                started = time.monotonic()
                process = _start(run, command, root, slots[slot])
                running[slot] = run, process, started
            time.sleep(0.5)
            for slot, (run, process, started) in list(running.items()):
                if process.poll() is None:
                    continue
                add_seconds(run.workdir(root), time.monotonic() - started)
                del running[slot]
                free.append(slot)
                if process.returncode or not (run.workdir(root) / DONE).exists():
                    log = run.workdir(root) / "log.txt"
                    raise UserError(f"run {run.name} failed; see {log}")
                bar.update()
                bar.set_postfix_str(run.name)
                finished(run)
    finally:
        for _, process, _ in running.values():
            process.terminate()  # it saves, and goes on next time
        for run, process, started in running.values():
            process.wait()
            add_seconds(run.workdir(root), time.monotonic() - started)
        bar.close()


def _ready(run: StudyRun, root: pathlib.Path) -> bool:
    needed = run.needed(root)
    return needed is None or (needed / DONE).exists()


def add_seconds(directory: pathlib.Path, seconds: float) -> None:
    """Add to the wall time that a run took so far."""
    path = directory / SECONDS
    before = storage.read_json(path)["seconds"] if path.exists() else 0.0
    storage.write_json(path, {"seconds": before + seconds})


def _start(
    run: StudyRun, command: list[str], root: pathlib.Path, cores: set[int]
) -> subprocess.Popen:
    directory = run.workdir(root)
    directory.mkdir(parents=True, exist_ok=True)
    command = [*command, "--workdir", str(root), "--run", run.name]
    with open(directory / "log.txt", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process.pid, cores)
    return process


def _core_slots(jobs: int) -> list[set[int]]:
    """Return the machine's cores in `jobs` equal parts."""
    if not hasattr(os, "sched_getaffinity"):
        return [set() for _ in range(jobs)]
    cores = sorted(os.sched_getaffinity(0))
    if jobs > len(cores):
        raise UserError(f"--jobs {jobs} is more than the {len(cores)} cores here")
    return [set(cores[slot::jobs]) for slot in range(jobs)]
