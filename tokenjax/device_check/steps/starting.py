"""Seconds from starting a process to a model's first row, without any cache.

Several start at once where there are cores for it, which each of them feels.
"""

import dataclasses
import os
import pathlib
import time
from concurrent.futures import ThreadPoolExecutor

from tokenjax.benchmark import starting, starting_cases
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.task import Task

RESERVED = 3.0  # seconds before the step's limit: what is left is ended
CORES = 4  # for each of the processes that start at once
LEAST = 5.0  # seconds: with less left no process is started


def find(task: Task, findings: Findings) -> None:
    """Start a process for each model; each is ended before this step is."""
    names = ["vit(depth=1,embed_dim=32,num_heads=2)"]
    if not task.tiny:
        given = task.arguments["models"]
        assert isinstance(given, list | tuple)
        names = list(given)
    most = 1 if task.tiny else int(str(task.arguments["at_once"]))
    at_once = max(1, min(most, (os.cpu_count() or 1) // CORES))
    dtype = "float32" if task.tiny else "bfloat16"
    options = {"models": names, "configs": [], "batch_size": 64, "dtype": dtype}
    options |= {"image_size": 0, "train": False}
    if task.tiny:
        options["batch_size"] = 2
    cases = starting_cases.choose(options)
    until = time.time() + findings.left() - RESERVED
    findings.add(at_once=at_once, batch=options["batch_size"], dtype=dtype)
    slowest: list[starting.Started] = []

    def start(case: starting.Case) -> None:
        left = until - time.time()
        if left < LEAST:
            findings.add_row({"name": case.name, "problem": "no time was left"})
            return
        place = pathlib.Path(task.work) / case.name.replace("/", "-")
        place.mkdir()
        row = starting.start(case, place, False, left)
        findings.add_row(dataclasses.asdict(row))
        if row.problem:
            return
        slowest.append(row)
        slowest.sort(key=lambda row: -row.seconds)
        words = ", ".join(f"{row.name} {row.seconds:.0f} s" for row in slowest)
        findings.say(f"first row: {words}")

    with findings.alone(), ThreadPoolExecutor(at_once) as pool:
        list(pool.map(start, cases))
