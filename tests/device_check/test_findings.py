"""What a step finds, whose turn it is, and what is prepared in threads."""

import json
import threading
import time

import pytest

from tokenjax.device_check import jobs, plan, process_tree, turns
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.steps import reducers
from tokenjax.device_check.task import Task
from tokenjax.errors import UserError


def task(seconds):
    ends = time.time() + 60
    return Task("x", "x", {}, "", time.time(), seconds, ends, True, None, "", "")


def test_findings_are_written_as_they_come(tmp_path):
    path = tmp_path / "found.json"
    findings = Findings(path, time.time())
    findings.add_row({"model": "vit", "ratio": float("nan")})
    findings.add(batch=2)
    findings.fail("wrong")
    findings.say("in short")
    assert json.loads(path.read_text()) == {
        "headline": "in short",
        "failures": ["wrong"],
        "skipped": "",
        "figures": {"rows": [{"model": "vit", "ratio": None}], "batch": 2},
    }


def test_seconds_are_those_without_pauses(tmp_path):
    giver, mine = turns.Giver(tmp_path), turns.Turns(tmp_path, "mine")
    findings = Findings(tmp_path / "found.json", time.time() - 100, mine)
    assert findings.seconds() == pytest.approx(100, abs=5)
    giver.note("mine", 60.0)
    assert findings.seconds() == pytest.approx(40, abs=5)


def test_what_is_left_ends_with_the_check(tmp_path):
    """A pause moves a step's own limit, and not the end of all."""
    path, now = tmp_path / "found.json", time.time()
    giver, mine = turns.Giver(tmp_path), turns.Turns(tmp_path, "mine")
    findings = Findings(path, now - 100, mine, limit=130, ends=now + 70)
    assert findings.left() == pytest.approx(30, abs=5)
    giver.note("mine", 20.0)
    assert findings.left() == pytest.approx(50, abs=5)
    giver.note("mine", 90.0)
    assert findings.left() == pytest.approx(70, abs=5)


def test_a_turn_is_asked_for_given_and_ends(tmp_path):
    giver = turns.Giver(tmp_path)
    names = ["first", "second"]
    assert giver.next(names) == ""
    held = []

    def measure():
        with turns.Turns(tmp_path, "second").taken():
            held.append(giver.holder)

    thread = threading.Thread(target=measure)
    thread.start()
    while not giver.next(names):
        time.sleep(0.001)
    assert giver.next(names) == "second"
    assert not held
    giver.give("second")
    assert giver.next(names) == ""
    while not giver.is_over(names):
        time.sleep(0.001)
    giver.end()
    thread.join()
    assert held == ["second"]
    giver.give("first")  # which ends without giving it back
    turns.question_file(tmp_path, "first").touch()
    assert not giver.is_over(names)
    assert giver.is_over(["second"])


def test_jobs_that_fail_or_are_late_leave_the_others(tmp_path):
    findings = Findings(tmp_path / "found.json", time.time(), limit=0.8)
    begun = jobs.Jobs(task(0.8), findings, {"one": 1, "other": 1})
    late = threading.Event()

    def fail():
        raise UserError("no such thing")

    begun.submit("one", "good", lambda: 3)
    begun.submit("one", "bad", fail)
    begun.submit("other", "slow", lambda: late.wait(60))
    begun.submit("other", "behind", lambda: 4)
    begun.wait()
    ready, problems = begun.results()
    late.set()
    assert ready == {"good": 3}
    assert problems == {
        "bad": "UserError: no such thing",
        "slow": jobs.LATE,
        "behind": jobs.LATE,
    }
    assert set(findings.figures["ready_seconds"]) == {"good"}


def test_reductions_are_prepared_by_importance():
    found = reducers.order(["tome", "evit"], [64, 1])
    assert found == [
        ("none", 64),
        ("tome", 64),
        ("none", 1),
        ("tome", 1),
        ("evit", 64),
        ("evit", 1),
    ]


def test_the_plan():
    assert plan.choose([]) == list(plan.STEPS)
    names = [step.name for step in plan.choose(["parity", "device", "parity"])]
    assert names == ["parity", "device"]  # as they are given
    with pytest.raises(UserError, match="unknown step 'pairty', did you mean 'parity'"):
        plan.choose(["pairty"])
    assert len(set(plan.names())) == len(plan.STEPS)


def test_the_first_process_has_descendants():
    assert len(process_tree.descendants(1)) > 0
    assert process_tree.descendants(2**30) == []
