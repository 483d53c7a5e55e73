"""What routing saves: the routed stage by share, and whole models, in turns."""

from tokenjax.benchmark import latency, routing_stages, turns
from tokenjax.device_check import sizes
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.task import Task

STAGE, MODELS = "routed stage", "whole models"
ENCODER = routing_stages.Encoder("lean", 32, 2)
TINY_ENCODER = routing_stages.Encoder("lean", 8, 1)
SHARES = (0.25, 0.5)
LEAST = 0.35  # of the limit: with less left no further comparison is begun


def find(task: Task, findings: Findings) -> None:
    """Compare the stage at each batch, then whole models, as long as there is time."""
    batches = [2] if task.tiny else task.arguments["batches"]
    assert isinstance(batches, list | tuple)
    encoder = TINY_ENCODER if task.tiny else ENCODER
    arguments = {"img_size": 16, "patch_grid": 2} if task.tiny else {}
    dtype = sizes.computed_dtype()
    timing = sizes.TINY_TIMING if task.tiny else sizes.TIMING
    findings.add(dtype=dtype, shares=list(SHARES), encoder=str(encoder))
    said, left_out = [], []
    ready: dict[str, float] = {}
    for number, (what, batch) in enumerate(
        [*((STAGE, batch) for batch in batches), (MODELS, batches[0])]
    ):
        if number and findings.left() < LEAST * task.seconds:
            left_out.append(f"{what}, batch {batch}")
            continue
        if what == STAGE:
            made = routing_stages.routed_stage(arguments, SHARES, batch, dtype)
        else:
            made = routing_stages.whole_models(arguments, [encoder], batch, dtype)
        ready[f"{what}, batch {batch}"] = round(findings.seconds(), 2)
        findings.add(ready_seconds=dict(ready))
        costs = _compare(what, made, batch, timing, findings)
        said.append(_words(what, batch, costs))
        findings.say("; ".join(said))
    findings.add(left_out=left_out)


def _compare(
    what: str,
    made: list[turns.Contestant],
    batch: int,
    timing: latency.Timing,
    findings: Findings,
) -> list[turns.Cost]:
    """Time the contestants in turns, and add a row for each."""
    with findings.alone():
        costs = turns.compare(what, made, batch, timing)
    for cost in costs:
        findings.add_row(
            {
                "comparison": what,
                "name": cost.name,
                "batch": batch,
                **cost.labels,
                "milliseconds": 1e3 * cost.latency.median,
                "ratio": cost.ratio,
                "ideal": cost.ideal,
                "rounds": cost.latency.repeats,
            }
        )
    return costs


def _words(what: str, batch: int, costs: list[turns.Cost]) -> str:
    """Say the ratio of what routes about the first share."""
    routed = [cost for cost in costs if cost.name.startswith(ROUTED)]
    words = ", ".join(
        f"{cost.ratio:.2f} at {100 * float(cost.labels['share']):.0f} %"
        for cost in routed
    )
    return f"{what}, batch {batch}: {words} of the full"


ROUTED = (routing_stages.ROUTED, "attention_routing")
