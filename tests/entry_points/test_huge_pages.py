"""Entry points start again on huge pages, once, and keep what a user has set."""

import subprocess
import sys

import pytest
import training_runs

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
    expected = given or "glibc.malloc.hugetlb=1"
    assert finished.stdout.strip() == f"{expected} ['one two'] ['one two']"
