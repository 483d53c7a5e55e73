"""Entry points start again on huge pages, once, and keep what a user has set."""

import json
import subprocess
import sys

import pytest
from helpers import training_runs

from tokenjax import command_line

# Large blocks, of the main thread and of another, are freed and asked for again.
FAULTS = """
import resource, sys, threading
from tokenjax import command_line

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def main(_):
    import numpy as np
    counts = []
    def again():
        np.ones(64 << 17)
        before = faults()
        np.ones(64 << 17)
        counts.append(faults() - before)
    again()
    thread = threading.Thread(target=again)
    thread.start()
    thread.join()
    print(counts)

command_line.run(main)
"""
PROGRAM = """
import os, sys
from tokenjax import command_line
setting = os.environ.get("GLIBC_TUNABLES")  # before and after: printed by the last
command_line.run(lambda argv: print(setting, sys.argv[1:], argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
@pytest.mark.parametrize("given", [None, "glibc.malloc.check=0"])
def test_allocator(tmp_path, given):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = training_runs.environment()
    environment.pop("GLIBC_TUNABLES", None)
    if given:
        environment["GLIBC_TUNABLES"] = given
    finished = subprocess.run(
        [sys.executable, str(script), "one two"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    expected = given or command_line.ALLOCATOR
    assert "glibc.malloc.hugetlb=1" in command_line.ALLOCATOR
    assert finished.stdout.strip() == f"{expected} ['one two'] ['one two']"


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_kept(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(FAULTS)
    environment = training_runs.environment()
    environment.pop("GLIBC_TUNABLES", None)
    finished = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    main_thread, other_thread = json.loads(finished.stdout)
    assert max(main_thread, other_thread) < 16, "64 MiB are 32 to 16,384 pages"
