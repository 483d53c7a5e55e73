"""Recorded outputs and gradients, computed again in the device's exact products."""

import os
from concurrent.futures import ThreadPoolExecutor, as_completed

import jax

from tokenjax.device_check import checkout
from tokenjax.device_check.findings import Findings, Skipped
from tokenjax.device_check.parity import cases
from tokenjax.device_check.parity.held import GRADIENT, OUTPUT
from tokenjax.device_check.task import Task
from tokenjax.errors import first_line

MOST_THREADS = 6  # that compile: what is left of a program runs in milliseconds
RESERVED = 3.0  # seconds before the limit


def find(task: Task, findings: Findings) -> None:
    """Compute the cases, as many as there is time for.

    Raises: Skipped outside a checkout, which alone has the recordings.
    """
    if not checkout.GOLDEN.is_dir():
        raise Skipped("the recorded cases (tests/golden) are in a checkout alone")
    jax.config.update("jax_default_matmul_precision", "highest")
    wanted = list(cases.TINY) if task.tiny else cases.names()
    findings.add(precision="highest", wanted=wanted, not_done=wanted)
    pool = ThreadPoolExecutor(_threads())
    jobs = {pool.submit(_hold, name, findings): name for name in wanted}
    left = max(task.seconds - RESERVED - findings.seconds(), 0.0)
    done: list[str] = []
    try:
        for job in as_completed(jobs, timeout=left):
            done.append(jobs[job])
            findings.add(not_done=[name for name in wanted if name not in done])
            _say(findings, len(done), len(wanted))
    except TimeoutError:
        pool.shutdown(wait=False, cancel_futures=True)
    if not done:
        findings.fail("no case was computed in time")


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


def _say(findings: Findings, done: int, wanted: int) -> None:
    rows = findings.figures["rows"]
    assert isinstance(rows, list)
    largest = {
        kind: max((row.get("errors", {}).get(kind) or 0.0 for row in rows), default=0.0)
        for kind in (OUTPUT, GRADIENT)
    }
    agree = sum(not row["problems"] and "skipped" not in row for row in rows)
    findings.say(
        f"{agree} of {wanted} cases agree, {done - agree} do not or were skipped; "
        f"largest error of outputs {largest[OUTPUT]:.1e}, "
        f"of gradients {largest[GRADIENT]:.1e}"
    )
