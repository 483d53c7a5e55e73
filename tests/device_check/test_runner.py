"""Steps as processes: how each ends, limits, turns, and what is written of them."""

import json
import os
import pathlib
import sys
import time

import pytest

from tokenjax.device_check import runner, step_process
from tokenjax.device_check.plan import Step
from tokenjax.device_check.summary import JSON, LOG, Summary

FAKE = pathlib.Path(__file__).parents[1] / "helpers" / "fake_step.py"
ROOT = str(FAKE.parents[2])
HANGS_AFTER = 2.0  # seconds: long enough for a busy machine to start a process


def settings(folder, minutes=8.0, together=1):
    environment = {**os.environ, "PYTHONPATH": ROOT}
    command = (sys.executable, str(FAKE))
    return step_process.Settings(minutes, True, together, folder, environment, command)


def step(name, does, seconds=60.0, shares=True):
    return Step(name, f"{does}, for a test", "none", seconds, shares, {"does": does})


def run(folder, steps, **more):
    """The results by name, and the files."""
    work, output = folder / "work", folder / "output"
    work.mkdir()
    summary = Summary(output, {"tiny": True}, len(steps))
    found = runner.run(steps, settings(work, **more), summary.add)
    assert summary.results == found
    return {result["name"]: result for result in found}, output, summary


def is_there(process):
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def all_ends(tmp_path_factory):
    steps = [
        step("device", "well"),
        step("wrong", "fails"),
        step("left", "skips"),
        step("broken", "crashes"),
        step("stuck", "hangs", HANGS_AFTER),
        step("late", "well"),
    ]
    return run(tmp_path_factory.mktemp("check"), steps)


def test_how_steps_end(all_ends):
    found, _, summary = all_ends
    statuses = {name: result["status"] for name, result in found.items()}
    assert statuses == {
        "device": "ok",
        "wrong": "failed",
        "left": "skipped",
        "broken": "failed",
        "stuck": "timed out",
        "late": "ok",
    }
    assert found["wrong"]["reason"] == "two is not three"
    assert found["left"]["reason"] == "there is one device"
    assert found["broken"]["reason"] == "its process was ended by SIGSEGV"
    assert found["stuck"]["reason"] == "ended after 2 of its 2 s"
    assert HANGS_AFTER <= found["stuck"]["seconds"] < HANGS_AFTER + 10
    assert summary.status() == "failed"


def test_what_a_step_had_found_is_kept(all_ends):
    found, _, _ = all_ends
    assert found["stuck"]["figures"]["limit"] == HANGS_AFTER
    assert found["stuck"]["log_tail"] == "this is stuck\n"
    assert found["device"]["log_tail"] == ""
    assert found["device"]["headline"] == "all is well"


def test_all_that_a_step_began_ends_with_it(all_ends):
    child = all_ends[0]["stuck"]["figures"]["child"]
    deadline = time.monotonic() + 10
    while is_there(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_there(child)


def test_later_steps_know_the_peak(all_ends):
    found, _, _ = all_ends
    assert found["device"]["figures"]["peak"] is None
    assert found["late"]["figures"]["peak"] == 2.5


def test_what_is_written(all_ends):
    found, output, _ = all_ends
    written = json.loads((output / JSON).read_text())
    assert written["format"] == 1
    assert written["status"] == "failed"
    assert written["machine"] == found["device"]["figures"]
    assert [each["name"] for each in written["steps"]] == list(found)
    assert written["steps"][0]["figures"] == {}
    assert "==== stuck: timed out ====\nthis is stuck\n" in (output / LOG).read_text()
    assert sorted(path.name for path in output.iterdir()) == [JSON, LOG]


def test_limits_are_scaled_and_late_steps_left_out(tmp_path):
    """Of 0.05 minutes the first takes most, and has 0.05 / 8 of its 400 seconds."""
    steps = [step("stuck", "hangs", 400.0), step("next", "well", 400.0)]
    found, *_ = run(tmp_path, steps, minutes=0.05)
    assert found["stuck"]["limit_seconds"] == 2.5
    assert found["stuck"]["status"] == "timed out"
    (reason,) = (found["next"]["reason"],)
    assert (found["next"]["status"], reason) == ("skipped", "0 s of the time were left")


def test_one_at_a_time_has_the_device(tmp_path):
    """Two prepare at once; the pause of one is none of its own seconds."""
    steps = [step("one", "turns"), step("two", "turns")]
    found, *_ = run(tmp_path, steps, together=2)
    figures = [found[name]["figures"] for name in ("one", "two")]
    (first, end), (second, _) = sorted(each["turn"] for each in figures)
    assert end <= second
    assert first < second
    for name, each in zip(("one", "two"), figures, strict=True):
        # It may be paused once more when it has said so.
        paused = found[name]["paused_seconds"]
        assert -0.01 <= each["whole"] - each["seconds"] <= paused + 0.01


def test_a_step_that_does_not_share_runs_alone(tmp_path):
    steps = [
        step("one", "turns"),
        step("alone", "turns", shares=False),
        step("two", "turns"),
    ]
    found, *_ = run(tmp_path, steps, together=3)
    turns = [found[name]["figures"]["turn"] for name in ("one", "alone", "two")]
    assert turns == sorted(turns)
    assert all(result["paused_seconds"] == 0 for result in found.values())
