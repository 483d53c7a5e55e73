"""Measure what training costs beside its steps: checkpoints, and waiting for data.

    python -m tokenjax.benchmark.training_overhead
    python -m tokenjax.benchmark.training_overhead --source digits --json overhead.json

Every source that needs no files, in default configurations that read it, at their
batch sizes, by the training command itself (see `overhead_runs`). From its
performance.jsonl:

    checkpoint   median over pairs of neighbouring intervals, one with a save and one
                 without, of time with / time without - 1; at most 5 %
    input wait   median over intervals of the share of the step's time in which the
                 devices waited for a batch; at most 5 %

An interval is 100 steps or more, and as many as take two seconds: a short run of each
configuration comes first to tell how many. A save costs what it costs; of less than two
seconds 5 % would be asked of nobody, so a shorter `--interval` is measured and said to
be too short, and its checkpoints are held to no limit.

A save goes on in the background. Where that takes longer than an interval, a part of
its cost falls into the interval without. Exit status 1 if a limit is exceeded.
"""

import math
import pathlib
import runpy
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax import path_flags, storage, tables
from tokenjax.benchmark import hardware, overhead_runs
from tokenjax.benchmark.command_line import check_file, check_no_arguments
from tokenjax.errors import UserError, unknown_name
from tokenjax.tables import Column

CASES = {  # source -> default configurations that read it
    "digits": ("configs/vdpa.py", "configs/vit.py"),
    "cluttered": ("configs/routing.py", "configs/vdpa.py:cluttered"),
    "synthetic_reid": ("configs/sdtps.py",),
}
Result = dict[str, Any]  # of a configuration, as --json writes it
LIMITS = {"checkpoint": 0.05, "input_wait": 0.05}
LEAST_SECONDS, LEAST_STEPS = 2.0, 100  # of an interval that is chosen
PROBED_STEPS = 20
MARGIN = 1.25  # the short run's steps are slower than those of a long one


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags of this command."""
    options: Any = {"flag_values": values}
    flags.DEFINE_list("source", sorted(CASES), "Sources to measure.", **options)
    flags.DEFINE_integer("pairs", 10, "Intervals with a save.", 1, **options)
    flags.DEFINE_integer(
        "interval", 0, "Steps of an interval; 0: as many as take 2 s.", 0, **options
    )
    flags.DEFINE_multi_string(
        "override", [], "Of every configuration: model.depth=2.", **options
    )
    path_flags.define("json", None, "Also write everything to this file.", values)


def choose_interval(
    spec: str, workdir: pathlib.Path, overrides: tuple[str, ...]
) -> int:
    """Return how many steps of a configuration are long enough, by a short run of it.

    Raises: UserError for a run that fails.
    """
    plan = overhead_runs.Plan(PROBED_STEPS, 1, overrides)
    rows = overhead_runs.run(spec, workdir, plan, lambda: None)
    step = min(row["time/per_step"] for row in rows)
    return max(LEAST_STEPS, math.ceil(MARGIN * LEAST_SECONDS / step))


def summarize(rows: Sequence[dict[str, float]], interval: int) -> Result:
    """Return what the rows of a run tell; they alternate, without a save and with one.

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
    step = float(np.median([row["time/per_step"] for row in without]))
    return {
        "step_ms": 1e3 * step,
        "interval": interval,
        "interval_seconds": interval * step,
        "checkpoint": float(np.median(costs)),
        "checkpoint_quartiles": quartiles,
        "input_wait": float(np.median(waits)),
        "input_wait_most": float(waits.max()),
        "rows": list(rows),
    }


def _checkpoint(result: Result) -> str:
    low, high = result["checkpoint_quartiles"]
    return f"{result['checkpoint']:.1%} ({low:.1%} to {high:.1%})"


def _input_wait(result: Result) -> str:
    return f"{result['input_wait']:.1%} ({result['input_wait_most']:.1%})"


def _interval(result: Result) -> str:
    return f"{result['interval']} ({result['interval_seconds']:.1f} s)"


COLUMNS: tuple[Column[Result], ...] = (
    Column("source", lambda result: result["source"]),
    Column("configuration", lambda result: result["config"]),
    Column("batch", lambda result: result["batch_size"], "d"),
    Column("ms/step", lambda result: result["step_ms"], ".1f"),
    Column("interval", _interval, ">"),
    Column("checkpoint (quartiles)", _checkpoint, ">"),
    Column("input wait (most)", _input_wait, ">"),
)


def table(results: Sequence[Result]) -> str:
    """Return the results as a table for the terminal, the verdict under it."""
    lines = tables.text_lines(results, COLUMNS)
    short = [row["config"] for row in results if _is_too_short(row)]
    if short:
        lines.append(
            f"Intervals of less than {LEAST_SECONDS:g} s are too short to judge a "
            f"checkpoint by: {', '.join(short)}; raise --interval."
        )
    limits = " and ".join(
        f"{name.replace('_', ' ')} {limit:.0%}" for name, limit in LIMITS.items()
    )
    over = exceeded(results)
    verdict = "kept" if not over else f"exceeded: {'; '.join(over)}"
    return "\n".join([*lines, f"Limits of {limits}: {verdict}."])


def exceeded(results: Sequence[Result]) -> list[str]:
    """Return the limits that were not kept, and where."""
    return [
        f"{name.replace('_', ' ')} of {row['config']}"
        for row in results
        for name, limit in LIMITS.items()
        if row[name] > limit and not (name == "checkpoint" and _is_too_short(row))
    ]


def _is_too_short(row: Result) -> bool:
    return row["interval_seconds"] < LEAST_SECONDS


def measure(sources: Sequence[str], plan: overhead_runs.Plan) -> list[Result]:
    """Measure every case of the sources, under a progress bar.

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
            interval = plan.interval or choose_interval(
                spec, pathlib.Path(root) / f"{number}-probed", plan.overrides
            )
            own = plan._replace(interval=interval)
            rows = overhead_runs.run(spec, workdir, own, bar.update)
            about = {
                "source": source,
                "config": spec,
                "batch_size": config.batch_size,
            }
            results.append(about | summarize(rows, interval))
    return results


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measure, print the table, write the file and exit with the verdict.

    Raises: UserError for whatever a user can mend.
    """
    check_no_arguments(argv)
    check_file("json", values.json)
    plan = overhead_runs.Plan(values.interval, values.pairs, tuple(values.override))
    results = measure(values.source, plan)
    print(table(results))
    print(f"Hardware: {hardware.describe()}; a save at every second interval's end.")
    if values.json:
        about = {"hardware": hardware.describe(), "limits": LIMITS}
        everything = {**about, "plan": plan._asdict(), "results": results}
        storage.write_json(pathlib.Path(values.json), everything)
    sys.exit(1 if exceeded(results) else 0)


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.training_overhead", run_name="__main__")
