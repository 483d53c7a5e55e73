"""`tokenjax check_device`: two steps on a CPU, and flags that do not fit."""

import json
import sys

import pytest
from helpers.entry_points import run_in_process
from helpers.training_runs import REPOSITORY

from tokenjax import __main__ as program
from tokenjax import command_line
from tokenjax.device_check.summary import JSON


def test_two_steps(tmp_path):
    output = tmp_path / "check"
    finished = run_in_process(
        "check_device",
        "--tiny",
        *("--steps", "device,retrieval"),
        *("--output", output, "--cache", REPOSITORY / ".cache"),
    )
    found = json.loads((output / JSON).read_text())
    assert finished.returncode == 0, found
    assert finished.stdout.splitlines()[0].startswith(" 1/2 device        ok ")
    assert (found["format"], found["status"], found["tiny"]) == (1, "ok", True)
    assert found["cache"] == {"began_cold": False, "kept": True}
    machine = found["machine"]
    assert (machine["platform"], machine["together"]) == ("cpu", 1)
    assert machine["measured_peak_flops"] == machine["product_flops"]["float32"] > 1e8
    assert {"jax", "flax", "numpy", "python"} <= set(machine["versions"])
    device, retrieval = found["steps"]
    assert (device["name"], retrieval["name"]) == ("device", "retrieval")
    assert 0 < retrieval["figures"]["mAP"] <= 1
    assert retrieval["headline"].startswith("40 x 400 in ")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--steps", "parity,speed"], "--steps: unknown step 'speed'"),
        (["--minutes", "0"], "minutes"),
        (["--together", "-1"], "together"),
        (["--output", "pyproject.toml"], "is a file, not a folder"),
        (["--output", "/proc/none/x"], "cannot be written"),
        (["device"], "unexpected argument 'device'"),
    ],
)
def test_flags_that_do_not_fit(flags, sentence):
    finished = run_in_process("check_device", *flags)
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
    assert sentence in finished.stderr


def test_a_hyphen_will_do(monkeypatch):
    called = []
    monkeypatch.setattr(command_line, "run", lambda *given: called.append(given))
    monkeypatch.setattr(sys, "argv", ["tokenjax", "check-device", "--tiny"])
    program.main()
    assert called == [("check_device", ["tokenjax", "--tiny"])]
