"""What reductions of tokens save of a ViT's inference, in turns with the dense one."""

import functools

import jax
import numpy as np
from flax.typing import VariableDict

from tokenjax.benchmark import inputs, latency, measure, program, turns
from tokenjax.device_check import sizes
from tokenjax.device_check.findings import Figures, Findings
from tokenjax.device_check.jobs import Jobs, threads
from tokenjax.device_check.task import Task
from tokenjax.models.reduction import methods

DENSE = "none"
TINY = {"reductions": ["tome:r=2"], "batches": [2]}


def find(task: Task, findings: Findings) -> None:
    """Compile every way at every batch, the first ones first, then time each batch."""
    chosen = sizes.choose(task)
    given = {**task.arguments, **(TINY if task.tiny else {})}
    reductions, batches = given["reductions"], given["batches"]
    assert isinstance(reductions, list | tuple)
    assert isinstance(batches, list | tuple)
    findings.add(model=chosen.model, dtype=chosen.dtype, mode=measure.INFERENCE)
    dense, pixels = measure.build(
        chosen.model, chosen.arguments, chosen.dtype, chosen.pixels
    )
    variables = program.start(dense, 1, pixels).variables  # no reduction has its own
    jobs = Jobs(task, findings, {"ours": threads()})
    for way, batch in order(list(reductions), list(batches)):
        make = functools.partial(_prepare, chosen, way, batch, variables)
        jobs.submit("ours", _name(way, batch), make)
    jobs.wait()
    ready, problems = jobs.results()
    findings.add(not_measured=problems)
    if not ready:
        findings.fail("; ".join(f"{k}: {v}" for k, v in problems.items()))
    said = []
    for batch in batches:
        made: dict[str, program.Program] = {
            way: each
            for way in (DENSE, *reductions)
            if isinstance(each := ready.get(_name(way, batch)), program.Program)
        }
        if DENSE not in made:
            continue
        rows = _time(chosen, batch, made, findings)
        words = [f"{row['reduction']} {row['speed']:.2f} x" for row in rows[1:]]
        said.append(f"batch {batch}: {', '.join(words) or 'the dense one alone'}")
        findings.say("; ".join(said))


def order(reductions: list[str], batches: list[int]) -> list[tuple[str, int]]:
    """Return what to compile in which order: the first reduction at every batch leads.

    Before a reduction at a batch comes the dense model, which it is compared with.
    """
    found: list[tuple[str, int]] = []
    for way in reductions:
        for batch in batches:
            for each in ((DENSE, batch), (way, batch)):
                if each not in found:
                    found.append(each)
    return found


def _name(way: str, batch: int) -> str:
    return f"{way}, batch {batch}"


def _prepare(
    chosen: sizes.Chosen, way: str, batch: int, variables: VariableDict
) -> program.Program:
    reduction = methods.write(way, "reductions") or None
    arguments = {**chosen.arguments, "reduction": reduction}
    module, pixels = measure.build(chosen.model, arguments, chosen.dtype, chosen.pixels)
    start = program.Start(variables, inputs.distinct_inputs(module, batch, pixels))
    with measure.fitting(chosen.model, batch):
        made = measure.prepare(module, batch, pixels, False, start)
        jax.block_until_ready(made.function(*made.calls[0]))
    return made


def _time(
    chosen: sizes.Chosen,
    batch: int,
    made: dict[str, program.Program],
    findings: Findings,
) -> list[Figures]:
    """Time the ways of one batch in turns, add a row for each, and return them."""
    contestants = [
        turns.Contestant(way, each.flops, each.function, each.calls)
        for way, each in made.items()
    ]
    with findings.alone():
        times = turns.measure(contestants, chosen.timing)
    seconds = times.best  # (rounds or groups, ways)
    rows = []
    for index, (way, each) in enumerate(made.items()):
        ratios = seconds[:, index] / seconds[:, 0]
        low, high = latency.median_interval(ratios)
        ratio = float(np.median(ratios))
        row: Figures = {
            "batch": batch,
            "reduction": way,
            "milliseconds": 1e3 * float(np.median(seconds[:, index])),
            "waited_milliseconds": 1e3 * float(np.median(times.waited[:, index])),
            "time_ratio": ratio,
            "low": low,
            "high": high,
            "speed": 1 / ratio,
            "flops_saved": 1 - each.flops / made[DENSE].flops,
            "compile_seconds": each.compile_seconds,
            "rounds": len(seconds),
        }
        findings.add_row(row)
        rows.append(row)
    return rows
