"""Trained weights evaluated over the values of one argument: `eval.py --sweep`.

Nothing is trained. Accuracy is of the whole split; latencies are measured on its images
with the value's own program, all values in turns. An argument that a trained parameter
stands for is varied by putting the value in the parameter's place
(`contract.LearnsArguments`): one program serves all values. Any other is an argument of
the network, which is compiled anew for each value.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import numpy as np
from flax.typing import VariableDict
from tqdm import tqdm

from tokenjax import at_inference, benchmark, paths, reduced_weights, reevaluation
from tokenjax.benchmark import latency, turns
from tokenjax.benchmark.latency import Timing, compile_function
from tokenjax.benchmark.program import first_output
from tokenjax.building import Experiment, make_task
from tokenjax.data import Split
from tokenjax.errors import UserError
from tokenjax.study import sweep_report, sweep_values
from tokenjax.study.costs import prepared_batches
from tokenjax.study.sweep_report import Report, Row
from tokenjax.training.distribution import cluster, devices
from tokenjax.training.evaluate import report_suffix, run_split
from tokenjax.training.initialize import check_variables
from tokenjax.training.settings import Optimizer, Settings
from tokenjax.training.tasks.classification import Classification
from tokenjax.training.tasks.task import Predict

ROUNDS, WARM_UP = 30, 3
SELDOM = 15.0  # seconds between two states of a bar in a file
MAX_SECONDS = 120.0  # for the latencies, all values together


class Point(NamedTuple):
    """One value: what evaluates it, and the variables that it is evaluated with."""

    value: Any
    trained: bool
    task: Classification
    variables: VariableDict


def sweep(
    config: Any,
    source: pathlib.Path,
    split_name: str,
    output: pathlib.Path,
    given: Sequence[str],
    batch_size: int,
    changes: Sequence[str] = (),
) -> tuple[list[str], list[pathlib.Path]]:
    """Evaluate weights over the values of an argument; write and return what came out.

    Args:
      config, source, split_name, output, changes: as of `reevaluation.evaluate`.
      given: the values of --sweep, see `sweep_values`.
      batch_size: images at a time in the latencies.

    Returns: lines to print, and the files written below `output`.

    Raises: UserError.
    """
    source, output = paths.resolve(source, "source"), paths.resolve(output, "output")
    with cluster.member(Settings.from_config(config)):
        if jax.process_count() > 1:
            raise UserError("--sweep measures latencies: it runs in one process")
        opened = reevaluation.open_weights(config, source, split_name, changes)
        built = opened.built
        variables = jax.device_put(opened.weights.variables)  # once for all values
        name, points, how = _points(built, variables, given)
        if name in changes:
            raise UserError(f"--changes={name}: --sweep {name} varies it already")
        split = built.dataset.split(split_name)
        rows = _evaluate(name, points, split, built.settings)
        _time(points, rows, split, batch_size)
    report = Report(
        argument=name,
        how=how,
        split=split_name,
        of=opened.of,
        step=opened.weights.step,
        checkpoint=built.settings.checkpoint.evaluate,
        batch_size=batch_size,
        device=f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        rows=rows,
    )
    suffix = report_suffix(split_name, opened.of)
    files = sweep_report.write(report, output, suffix, built.settings.figures)
    return sweep_report.lines(report), files


def _points(
    built: Experiment, variables: VariableDict, given: Sequence[str]
) -> tuple[str, list[Point], str]:
    """Return the argument, its values with the trained one, and how they are set.

    Raises: UserError for an argument that does not act at inference.
    """
    task, settings = built.task, built.settings
    model_name = settings.model["name"]
    if not isinstance(task, Classification):
        raise UserError(f"--sweep is of classifiers, not of task {settings.task}")
    inference = at_inference.Inference(task.model, variables)
    name, values = sweep_values.fit(model_name, inference, given)
    learned = at_inference.learned_arguments(task.model)
    if name in learned:
        own = float(learned[name].value(variables))
        points = [
            Point(value, False, task, learned[name].replace(variables, value))
            for value in values
            if value != own
        ]
        how = f"each value {learned[name].how}, in place of the learned {own:.4g}"
    else:
        own = getattr(task.model, name)
        points = [
            Point(value, False, *_task_with(built, name, value, variables))
            for value in values
            if value != own
        ]
        how = "each value is an argument of the network"
    points.append(Point(own, True, task, variables))
    if isinstance(own, int | float):
        points.sort(key=lambda point: point.value)
    return name, points, how


def _task_with(
    built: Experiment, name: str, value: Any, variables: VariableDict
) -> tuple[Classification, VariableDict]:
    """Return the task whose model has another value of an argument, and its variables.

    Raises: UserError for one that does not fit the model's others.
    """
    model = {**built.settings.model, name: value}
    # Nothing learns here: what the run froze may not be there.
    settings = dataclasses.replace(built.settings, model=model, optimizer=Optimizer())
    task = make_task(settings, built.dataset)
    variables = reduced_weights.fit(variables, built.task.model, task.model)
    check_variables(jax.eval_shape(task.init, jax.random.key(0)), variables)
    return cast(Classification, task), variables


def _evaluate(
    name: str, points: Sequence[Point], split: Split, settings: Settings
) -> list[Row]:
    """Run every point over the split; latencies are still missing."""
    mesh = devices.make_mesh(settings)
    compiled: dict[int, Predict] = {}
    rows = []
    for point in (bar := _bar(points, "evaluating", "value")):
        bar.set_description(f"{name}={sweep_report.shown(point.value)}")
        if id(point.task) not in compiled:
            compiled[id(point.task)] = point.task.compile_predict(mesh)
        predict = compiled[id(point.task)]
        variables = jax.device_put(point.variables, devices.replicated(mesh))
        outputs = run_split(predict, variables, split, settings.batch_size, mesh)
        scalars = point.task.scalars(outputs)
        rows.append(Row(point.value, point.trained, len(split), scalars))
    return rows


def _time(
    points: Sequence[Point], rows: Sequence[Row], split: Split, batch_size: int
) -> None:
    """Measure the latency of every point, all in turns, and put it into its row."""
    batches = prepared_batches(points[0].task, split, batch_size)
    compiled: dict[int, tuple[jax.stages.Compiled, int]] = {}
    contestants = []
    for point in _bar(points, "compiling", "value"):
        variables = jax.device_put(point.variables)
        key = id(point.task)
        if key not in compiled:
            infer = first_output(cast(nn.Module, point.task.model))
            program, _ = compile_function(infer, (variables, batches[0]))
            flops = benchmark.count_flops(infer, variables, batches[0])
            compiled[key] = program, flops
        program, flops = compiled[key]
        calls = [(variables, batch) for batch in batches]
        contestants.append(
            turns.Contestant(str(point.value), flops / batch_size, program, calls)
        )
    with _bar(None, "latencies", "round") as bar:
        timing = Timing(WARM_UP, ROUNDS, MAX_SECONDS, bar.update)
        seconds = turns.time_in_turns(contestants, timing)  # (rounds, points)
    own = [point.trained for point in points].index(True)
    ratios = np.median(seconds / seconds[:, own : own + 1], axis=0)
    for index, (row, contestant) in enumerate(zip(rows, contestants, strict=True)):
        row.latency = latency.summarize(seconds[:, index])
        row.time_ratio = float(ratios[index])
        row.scalars.setdefault("mflops", contestant.flops / 1e6)


def _bar(points: Sequence[Point] | None, what: str, unit: str) -> tqdm:
    """Return a bar over the points, or over the rounds of the latencies."""
    return tqdm(
        points,
        desc=what,
        total=ROUNDS if points is None else None,
        unit=unit,
        mininterval=0.2 if sys.stderr.isatty() else SELDOM,
    )
