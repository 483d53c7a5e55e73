"""Training steps of one model at growing batches: where is it the most of the peak?"""

import functools

import flax.linen as nn
import jax

from tokenjax.benchmark import inputs, measure, program
from tokenjax.device_check import sizes
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.jobs import Jobs, threads
from tokenjax.device_check.steps.peers import program_figures
from tokenjax.device_check.task import Task

TINY = (1, 2)


def find(task: Task, findings: Findings) -> None:
    """Compile every batch's step, then time each."""
    chosen = sizes.choose(task)
    findings.add(model=chosen.model, dtype=chosen.dtype, mode=measure.TRAINING)
    module, pixels = measure.build(
        chosen.model, chosen.arguments, chosen.dtype, chosen.pixels
    )
    variables = program.start(module, 1, pixels).variables
    jobs = Jobs(task, findings, {"ours": threads()})
    batches = TINY if task.tiny else task.arguments["batches"]
    assert isinstance(batches, list | tuple)
    for batch in batches:
        start = program.Start(variables, inputs.distinct_inputs(module, batch, pixels))
        make = functools.partial(_prepare, chosen.model, module, batch, pixels, start)
        jobs.submit("ours", f"batch {batch}", make)
    jobs.wait()
    ready, problems = jobs.results()
    findings.add(not_measured=problems)
    best = "nothing was ready in time"
    highest = 0.0
    for batch in batches:
        made = ready.get(f"batch {batch}")
        if not isinstance(made, program.Program):
            continue
        with findings.alone():
            seconds, queued = measure.time_program(made, chosen.timing)
        row = measure.make_row(
            *(chosen.model, made, batch, chosen.dtype, True, seconds), queued=queued
        )
        figures = program_figures(row, task.peak)
        findings.add_row(figures)
        rate = row.images_per_second or 0.0
        if rate > highest:
            highest = rate
            share = figures["share_of_measured_peak"]
            of_peak = f", {100 * share:.0f} % of the peak" if share else ""  # type: ignore[operator]
            best = f"batch {batch}: {rate:.0f} images/s{of_peak}"
        findings.say(best)
    if not ready:
        findings.fail("; ".join(f"{k}: {v}" for k, v in problems.items()))


def _prepare(
    name: str, module: nn.Module, batch: int, pixels: int, start: program.Start
) -> program.Program:
    with measure.fitting(name, batch):
        made = measure.prepare(module, batch, pixels, True, start)
        jax.block_until_ready(made.function(*made.calls[0]))
    return made
