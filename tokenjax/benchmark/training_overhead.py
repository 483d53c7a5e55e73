"""What training costs beside its steps: saving checkpoints, and waiting for data.

    python -m tokenjax.benchmark.training_overhead
    python -m tokenjax.benchmark.training_overhead --source digits --json overhead.json

Every source that needs no files, in default configurations that read it, at their
batch sizes, by train.py itself (see `overhead_runs`). From its performance.jsonl:

    checkpoint   median over pairs of neighbouring intervals of 100 steps, one with a
                 save and one without, of time with / time without - 1; at most 3 %
    input wait   median over intervals of the share of the step's time in which the
                 devices waited for a batch; at most 5 %

A save goes on in the background. Where that takes longer than 100 steps, a part of its
cost falls into the interval without. Exit status 1 if a limit is exceeded.
"""

import pathlib
import runpy
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax import storage
from tokenjax.benchmark import hardware, overhead_runs
from tokenjax.benchmark.command_line import check_file, check_no_arguments
from tokenjax.errors import UserError, unknown_name

CASES = {  # source -> default configurations that read it
    "digits": ("configs/vdpa.py", "configs/vit.py"),
    "cluttered": ("configs/routing.py", "configs/vdpa.py:cluttered"),
    "synthetic_reid": ("configs/sdtps.py",),
}
LIMITS = {"checkpoint": 0.03, "input_wait": 0.05}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command."""
    options: Any = {"flag_values": values}
    flags.DEFINE_list("source", sorted(CASES), "Sources to measure.", **options)
    flags.DEFINE_integer("pairs", 10, "Intervals with a save.", 1, **options)
    flags.DEFINE_integer("interval", 100, "Steps between saves.", 2, **options)
    flags.DEFINE_multi_string(
        "override", [], "Of every configuration: model.depth=2.", **options
    )
    flags.DEFINE_string("json", None, "Also write everything to this file.", **options)


def summarize(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What the rows of a run tell; they alternate, without a save and with one.

    Raises: UserError if they do not.
    """
    without, with_save = rows[0::2], rows[1::2]
    saved = [row["time/checkpoint"] > 0 for row in rows]
    if any(saved[0::2]) or not all(saved[1::2]):
        raise UserError("the run did not save at every second row")
    costs = np.array(
        [
            a["time/per_step"] / b["time/per_step"] - 1
            for a, b in zip(with_save, without, strict=True)
        ]
    )
    waits = np.array([row["time/input_wait"] / row["time/per_step"] for row in rows])
    quartiles = np.percentile(costs, [25, 75]).tolist()
    return {
        "step_ms": 1e3 * float(np.median([row["time/per_step"] for row in without])),
        "checkpoint": float(np.median(costs)),
        "checkpoint_quartiles": quartiles,
        "input_wait": float(np.median(waits)),
        "input_wait_most": float(waits.max()),
        "rows": list(rows),
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """For a terminal."""
    lines = [
        f"{'source':15} {'configuration':26} {'batch':>5} {'ms/step':>8} "
        f"{'checkpoint (quartiles)':>24} {'input wait (most)':>18}"
    ]
    for row in results:
        low, high = row["checkpoint_quartiles"]
        checkpoint = f"{row['checkpoint']:.1%} ({low:.1%} to {high:.1%})"
        wait = f"{row['input_wait']:.1%} ({row['input_wait_most']:.1%})"
        lines.append(
            f"{row['source']:15} {row['config']:26} {row['batch_size']:5} "
            f"{row['step_ms']:8.1f} {checkpoint:>24} {wait:>18}"
        )
    limits = " and ".join(
        f"{name.replace('_', ' ')} {limit:.0%}" for name, limit in LIMITS.items()
    )
    over = exceeded(results)
    verdict = "kept" if not over else f"exceeded: {'; '.join(over)}"
    return "\n".join([*lines, f"Limits of {limits}: {verdict}."])


def exceeded(results: Sequence[dict[str, Any]]) -> list[str]:
    """The limits that were not kept, and where."""
    return [
        f"{name.replace('_', ' ')} of {row['config']}"
        for row in results
        for name, limit in LIMITS.items()
        if row[name] > limit
    ]


def measure(sources: Sequence[str], plan: overhead_runs.Plan) -> list[dict[str, Any]]:
    """Every case of the sources, under a progress bar.

    Raises: UserError for an unknown source or a run that fails.
    """
    for source in sources:
        if source not in CASES:
            raise UserError(unknown_name("source", source, CASES))
    cases = [(source, spec) for source in sources for spec in CASES[source]]
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="tokenjax-overhead-") as root,
        tqdm(total=len(cases) * plan.rows, unit="interval") as bar,
    ):
        for number, (source, spec) in enumerate(cases):
            bar.set_description(spec)
            config = overhead_runs.load_config(spec, plan.overrides)
            workdir = pathlib.Path(root) / str(number)
            rows = overhead_runs.run(spec, workdir, plan, bar.update)
            about = {
                "source": source,
                "config": spec,
                "batch_size": config.batch_size,
            }
            results.append(about | summarize(rows))
    return results


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Raises: UserError for whatever a user can mend."""
    check_no_arguments(argv)
    check_file("json", values.json)
    plan = overhead_runs.Plan(values.interval, values.pairs, tuple(values.override))
    results = measure(values.source, plan)
    print(table(results))
    print(f"Hardware: {hardware.describe()}; a save every {plan.interval} steps.")
    if values.json:
        about = {"hardware": hardware.describe(), "limits": LIMITS}
        everything = {**about, "plan": plan._asdict(), "results": results}
        storage.write_json(pathlib.Path(values.json), everything)
    sys.exit(1 if exceeded(results) else 0)


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.training_overhead", run_name="__main__")
