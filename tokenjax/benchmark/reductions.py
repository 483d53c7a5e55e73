"""What methods of token reduction save: a model with and without, timed in turns.

    --reduction none,tome:r=13,evit:keep_rate=0.7

Each method is put into each model. All ways of one model have the same weights and
images and are timed one after another, round by round, so that what else the machine
does hits them alike; each is compared with the model that keeps every token:

    FLOPs saved     1 - FLOPs / FLOPs of none
    time ratio      median over the rounds of time / time of none; of queued calls where
                    they were timed
    turned          (1 - time ratio) / FLOPs saved: how much of the saved FLOPs became
                    saved time

FLOPs are those of the program that runs, what a plan and its application take included.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from tokenjax import models
from tokenjax.benchmark import latency, measure, memory, program, turns
from tokenjax.benchmark.chosen_models import Chosen
from tokenjax.errors import UserError
from tokenjax.models.reduction import methods
from tokenjax.written_arguments import WrittenModel

FLAG = "--reduction"
NONE = "none"
ARGUMENT = "reduction"  # of the models that take one
CANNOT = "this model takes no reduction"
MOST_WARMUP = 3


class Way(NamedTuple):
    """A model and how it reduces its tokens; or what is in the way of that."""

    label: str  # of the row
    reduction: str  # as it is written
    model: WrittenModel
    problem: str = ""


Ways = Mapping[str, Sequence[Way]]  # by the models' labels; the first keeps all tokens


def read(pieces: Sequence[str]) -> list[str]:
    """Return the methods as they are kept, of what stands between the commas.

    "none" is the first, named or not.

    Raises: UserError for a method that is unknown, has other arguments, or is there
      twice.
    """
    found: list[str] = []
    for text in methods.join(pieces):
        written = methods.write(text, FLAG) or NONE
        if written in found:
            raise UserError(f"{FLAG} names {written} twice; keep one")
        found.append(written)
    return [NONE, *(text for text in found if text != NONE)]


def put_into(
    chosen: Chosen, written: Sequence[str], dtype: str, image_size: int
) -> dict[str, list[Way]]:
    """Put each method into each model.

    Raises: UserError for a model that has a reduction already, and where no method goes
      into any.
    """
    ways: dict[str, list[Way]] = {}
    for label, model in chosen.items():
        if model.name == measure.SDTPS:
            raise UserError(f"{FLAG} is for whole models: take demo, not {model.name}")
        if model.arguments.get(ARGUMENT) is not None:
            raise UserError(f"{FLAG} is for all models, and {label} has one of its own")
        ways[label] = [_put(label, model, each, dtype, image_size) for each in written]
    reduced = [way for each in ways.values() for way in each if way.reduction != NONE]
    if reduced and all(way.problem for way in reduced):
        way = next((way for way in reduced if way.problem != CANNOT), reduced[0])
        able = [name for name in models.names() if _takes(name)]
        more = f"; these do: {', '.join(able)}" if way.problem == CANNOT else ""
        raise UserError(f"{FLAG}: {way.label}: {way.problem}{more}")
    return ways


def _put(
    label: str, model: WrittenModel, written: str, dtype: str, image_size: int
) -> Way:
    if written == NONE:
        return Way(label, NONE, model)
    name = f"{label} {written}"
    if not _takes(model.name):
        return Way(name, written, model, CANNOT)
    reduced = WrittenModel(model.name, {**model.arguments, ARGUMENT: written})
    try:
        measure.build(*reduced, dtype, image_size)
    except UserError as error:
        return Way(name, written, reduced, str(error))
    return Way(name, written, reduced)


def _takes(name: str) -> bool:
    return ARGUMENT in models.argument_names(name)


def measure_ways(
    ways: Sequence[Way],
    batch_size: int,
    dtype: str,
    image_size: int,
    timing: latency.Timing,
    train: bool,
    look: measure.Look | None = None,
) -> list[measure.Row]:
    """Measure the ways of one model in turns, each way a row.

    Repeats and warm-ups are rounds, the time to stop after is that of one way. What
    does not fit, into the model or the memory, has a row that says so. `look` is called
    with each row that is measured and its program.
    """
    made: dict[str, program.Program] = {}
    failed: dict[str, measure.Row] = {}
    for way in ways:
        try:
            made[way.label] = _prepare(way, batch_size, dtype, image_size, train, made)
        except (UserError, memory.OutOfMemory) as error:
            failed[way.label] = measure.failed_row(
                way.label, batch_size, dtype, train, str(error)
            )
    contestants = [
        turns.Contestant(label, each.flops, each.function, each.calls)
        for label, each in made.items()
    ]
    rounds = dataclasses.replace(
        timing,
        warmup=min(timing.warmup, MOST_WARMUP),
        max_seconds=timing.max_seconds * max(len(made), 1),
    )
    times = turns.measure(contestants, rounds)
    places = {label: index for index, label in enumerate(made)}
    taken = dict(zip(made, times.best.T, strict=True))
    rows = []
    for way in ways:
        row = failed.get(way.label)
        if row is None:
            each, index = made[way.label], places[way.label]
            seconds, queued = times.waited[:, index], times.queued_of(index)
            row = measure.make_row(
                way.label, each, batch_size, dtype, train, seconds, queued=queued
            )
            if look:
                look(row, each)
        saved = None
        if way is not ways[0] and {way.label, ways[0].label} <= set(made):
            shares = made[way.label].flops / made[ways[0].label].flops
            saved = _compare(1 - shares, taken[way.label] / taken[ways[0].label])
        rows.append(dataclasses.replace(row, reduction=way.reduction, saved=saved))
    return rows


def _prepare(
    way: Way,
    batch_size: int,
    dtype: str,
    image_size: int,
    train: bool,
    made: Mapping[str, program.Program],
) -> program.Program:
    """Compile a way and call it once, which shows whether it fits.

    Raises: UserError where there is a problem, OutOfMemory where it does not fit.
    """
    if way.problem:
        raise UserError(way.problem)
    module, left = measure.build(*way.model, dtype, image_size)
    first = next(iter(made.values()), None)
    with measure.fitting(way.label, batch_size):
        each = measure.prepare(module, batch_size, left, train, first)
        jax.block_until_ready(each.function(*each.calls[0]))
    return each


def _compare(flops_saved: float, ratios: np.ndarray) -> measure.Saved:
    """Compare by the ratios of times within each round (rounds,)."""
    low, high = latency.median_interval(ratios) if len(ratios) > 1 else (None, None)
    ratio = float(np.median(ratios))
    return measure.Saved(
        flops=flops_saved,
        time_ratio=ratio,
        low=low,
        high=high,
        turned=(1 - ratio) / flops_saved if flops_saved > 0 else None,
    )
