"""Recorded outputs and gradients, computed again in the device's exact products."""

import functools
import os

import jax

from tokenjax.device_check import checkout
from tokenjax.device_check.findings import Findings, Skipped
from tokenjax.device_check.jobs import Jobs
from tokenjax.device_check.parity import cases
from tokenjax.device_check.parity.held import GRADIENT, OUTPUT
from tokenjax.device_check.task import Task
from tokenjax.errors import first_line

MOST_THREADS = 6  # that compile: what is left of a program runs in milliseconds
RESERVED = 2.0  # seconds before the limit: nothing is timed


def find(task: Task, findings: Findings) -> None:
    """Compute the cases, as many as there is time for.

    Raises: Skipped outside a checkout, which alone has the recordings.
    """
    if not checkout.GOLDEN.is_dir():
        raise Skipped("the recorded cases (tests/golden) are in a checkout alone")
    jax.config.update("jax_default_matmul_precision", "highest")
    wanted = list(cases.TINY) if task.tiny else cases.names()
    findings.add(precision="highest", wanted=wanted)
    jobs = Jobs(task, findings, {"cases": _threads()}, RESERVED)
    for name in wanted:
        jobs.submit("cases", name, functools.partial(_hold, name, findings))
    jobs.wait()
    done, problems = jobs.results()
    findings.add(not_done=problems)
    if not done:
        findings.fail("no case was computed in time")
        return
    _say(findings, len(wanted))


def _threads() -> int:
    if jax.devices()[0].platform == "cpu":
        return 1
    return max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))


def _hold(name: str, findings: Findings) -> None:
    """Compute a case and add its row."""
    row: dict[str, object] = {"case": name}
    before = findings.seconds()
    try:
        held = cases.hold(name, checkout.GOLDEN)
        problems = held.problems
        row |= {"errors": held.errors()}
        row |= {"of": {kind: what for kind, (_, what) in held.largest.items()}}
    except Skipped as reason:
        problems = []
        row |= {"skipped": str(reason)}
    except Exception as error:  # another case may be right
        problems = [f"{type(error).__name__}: {first_line(error)}"]
    row |= {"problems": problems, "seconds": round(findings.seconds() - before, 2)}
    findings.add_row(row)
    if problems:
        more = f" and {len(problems) - 1} more" if problems[1:] else ""
        findings.fail(f"{name}: {problems[0]}{more}")


def _say(findings: Findings, wanted: int) -> None:
    rows = findings.figures["rows"]
    assert isinstance(rows, list)
    largest = {
        kind: max((row.get("errors", {}).get(kind) or 0.0 for row in rows), default=0.0)
        for kind in (OUTPUT, GRADIENT)
    }
    agree = sum(not row["problems"] and "skipped" not in row for row in rows)
    wrong = sum(bool(row["problems"]) for row in rows)
    findings.say(
        f"{agree} of {wanted} cases agree, {wrong} do not, "
        f"{wanted - agree - wrong} were not computed; largest error of outputs "
        f"{largest[OUTPUT]:.1e}, of gradients {largest[GRADIENT]:.1e}"
    )
