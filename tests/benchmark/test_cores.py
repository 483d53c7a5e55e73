"""--threads: what XLA and PyTorch may use, measured by the CPU's time."""

import json
import os
import subprocess
import sys

import pytest
from helpers import training_runs

from tokenjax.benchmark import cores
from tokenjax.errors import UserError

COUNT = cores.count()
PROGRAM = """
import json, os, time
from tokenjax.benchmark import cores, hardware, torch_programs
cores.bind(1)
import jax, jax.numpy as jnp
found = {"hardware": hardware.describe()}

def share(call):
    call()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(10):
        call()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)

matrix = jnp.ones((800, 800))
product = jax.jit(lambda x: x @ x)
found["jax"] = share(lambda: product(matrix).block_until_ready())
try:
    import torch
except ImportError:
    torch = None
if torch:
    torch_programs.set_threads(1)
    tensor = torch.ones(800, 800)
    found["torch"] = share(lambda: tensor @ tensor)
    found["torch threads"] = torch_programs.count_threads()
tasks = os.listdir("/proc/self/task")
found["cores"] = sorted({core for t in tasks for core in os.sched_getaffinity(int(t))})
print(json.dumps(found))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux binds")
def test_no_thread_of_either_can_use_more():
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=training_runs.REPOSITORY,
        env=training_runs.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    assert found["cores"] == [min(os.sched_getaffinity(0))]
    assert found["hardware"].endswith(", 1 core")
    assert 0 < found["jax"] < 1.1  # cores kept busy; both kept two busy without
    assert found.get("torch", 0) < 1.1
    assert found.get("torch threads", 1) == 1


def test_more_than_there_are():
    with pytest.raises(UserError, match=f"--threads {COUNT + 1}: this process may use"):
        cores.bind(COUNT + 1)


def test_a_system_that_binds_nothing(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(UserError, match="binds a process to cores"):
        cores.bind(1)
    cores.bind(0)  # is no wish


def test_an_accelerator_has_no_such_cores(monkeypatch):
    class Device:
        platform = "gpu"

    monkeypatch.setattr(cores.jax, "devices", lambda: [Device()])
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    with pytest.raises(UserError, match="jax computes on a gpu here"):
        cores.bind(COUNT)
