"""What routing saves: the routed stage by share, and whole models, in turns."""

from collections.abc import Mapping

from tokenjax.benchmark import routing_stages, turns
from tokenjax.device_check import sizes
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.task import Task

STAGE, MODELS = "routed stage", "whole models"
DEFAULT, LARGE, SMALL = "default size", "large", "tiny"
ARGUMENTS: Mapping[str, Mapping[str, object]] = {
    DEFAULT: {},
    LARGE: routing_stages.LARGE,
    SMALL: {"img_size": 16, "patch_grid": 2},
}
TINY = ((STAGE, SMALL, 2), (MODELS, SMALL, 2))
ENCODER = routing_stages.Encoder("lean", 16, 2)
TINY_ENCODER = routing_stages.Encoder("lean", 8, 1)
ROUTED = (routing_stages.ROUTED, "attention_routing")  # how names of these begin
SHARES = (0.25, 0.5)
LEAST = 0.35  # of the limit: with less left no further comparison is begun


def find(task: Task, findings: Findings) -> None:
    """Make the comparisons one after another, as long as there is time."""
    dtype = sizes.computed_dtype()
    wanted = TINY if task.tiny else task.arguments["comparisons"]
    assert isinstance(wanted, list | tuple)
    findings.add(dtype=dtype, shares=list(SHARES))
    said, left_out = [], []
    ready: dict[str, float] = {}
    for number, (what, size, batch) in enumerate(wanted):
        name = f"{what}, {size}, batch {batch}"
        if number and findings.left() < LEAST * task.seconds:
            left_out.append(name)
            continue
        arguments = ARGUMENTS[size]
        if what == STAGE:
            made = routing_stages.routed_stage(arguments, SHARES, batch, dtype)
        else:
            encoder = TINY_ENCODER if task.tiny else ENCODER
            made = routing_stages.whole_models(arguments, [encoder], batch, dtype)
        ready[name] = round(findings.seconds(), 2)
        findings.add(ready_seconds=dict(ready))
        said.append(_compare(what, size, made, batch, task.tiny, findings))
        findings.say("; ".join(said))
    findings.add(left_out=left_out)


def _compare(
    what: str,
    size: str,
    made: list[turns.Contestant],
    batch: int,
    tiny: bool,
    findings: Findings,
) -> str:
    """Time the contestants in turns, add a row for each, and say the ratios."""
    timing = sizes.TINY_TIMING if tiny else sizes.TIMING
    with findings.alone():
        costs = turns.compare(what, made, batch, timing)
    for cost in costs:
        findings.add_row(
            {
                "comparison": what,
                "size": size,
                "name": cost.name,
                "batch": batch,
                **cost.labels,
                "milliseconds": 1e3 * (cost.queued or cost.latency).median,
                "waited_milliseconds": 1e3 * cost.latency.median,
                "ratio": cost.ratio,
                "ideal": cost.ideal,
                "rounds": (cost.queued or cost.latency).repeats,
            }
        )
    words = ", ".join(
        f"{cost.ratio:.2f} at {100 * float(cost.labels['share']):.0f} %"
        for cost in costs
        if cost.name.startswith(ROUTED)
    )
    return f"{what}, {size}, batch {batch}: {words} of the full"
