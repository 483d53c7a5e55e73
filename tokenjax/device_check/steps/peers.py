"""Our program of a model against PyTorch's, eager and compiled, timed in turns.

Both libraries compile at the same time, in threads; inference and a training step are
timed once their programs are there. What is not ready in time is left out, and said.
"""

import functools
import importlib
import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax

from tokenjax.benchmark import (
    measure,
    pairs,
    program,
    torch_peers,
    torch_programs,
    turns,
)
from tokenjax.device_check import sizes
from tokenjax.device_check.findings import Figures, Findings
from tokenjax.device_check.jobs import Jobs
from tokenjax.device_check.task import Task
from tokenjax.errors import UserError

OURS, EAGER, COMPILED = "ours", "eager", "compiled"
MODES = (measure.INFERENCE, measure.TRAINING)
Calls = Sequence[tuple]


class _Theirs(NamedTuple):
    """PyTorch's program, which has run once."""

    function: torch_programs.Call
    calls: Calls
    source: str


class _Entry(NamedTuple):
    """What both libraries begin with."""

    chosen: sizes.Chosen
    module: nn.Module
    pixels: int
    start: program.Start


def find(task: Task, findings: Findings) -> None:
    """Prepare, wait, and time each mode."""
    chosen = sizes.choose(task)
    # PyTorch's tracer is not made for several threads.
    jobs = Jobs(task, findings, {OURS: len(MODES), EAGER: 1})
    if importlib.util.find_spec("torch"):  # seconds, while ours is initialised
        jobs.submit(EAGER, "torch", functools.partial(importlib.import_module, "torch"))
    module, pixels = measure.build(
        chosen.model, chosen.arguments, chosen.dtype, chosen.pixels
    )
    reason = why_no_peer(chosen.model, module)
    findings.add(model=chosen.model, dtype=chosen.dtype, no_peer=reason)
    kinds = [] if reason else [EAGER, *([COMPILED] if chosen.compiled else [])]
    start = program.start(module, chosen.batch, pixels)
    entry = _Entry(chosen, module, pixels, start)
    for mode in MODES:
        ours = functools.partial(_prepare, entry, mode)
        jobs.submit(OURS, f"{OURS} {mode}", ours)
        for kind in kinds:
            theirs = functools.partial(_prepare_theirs, entry, mode, kind)
            jobs.submit(EAGER, f"{kind} {mode}", theirs)
    jobs.wait()
    ready, problems = jobs.results()
    findings.add(not_compared=problems)
    for mode in MODES:
        made = ready.get(f"{OURS} {mode}")
        if not isinstance(made, program.Program):
            findings.fail(f"{mode}: {problems[f'{OURS} {mode}']}")
            continue
        peers = {
            kind: each
            for kind in kinds
            if isinstance(each := ready.get(f"{kind} {mode}"), _Theirs)
        }
        findings.add_row(_time(entry, mode, made, peers, task.peak, findings))
        findings.say(headline(findings.figures))


def why_no_peer(name: str, module: nn.Module) -> str:
    """Return what is in the way of PyTorch's program, "" for nothing."""
    try:
        torch_peers.check_installed()
        torch_peers.check(name, module)
    except UserError as error:
        return str(error)
    return ""


def _prepare(entry: _Entry, mode: str) -> program.Program:
    """Compile ours, and run it once."""
    chosen, train = entry.chosen, mode == measure.TRAINING
    with measure.fitting(chosen.model, chosen.batch):
        made = measure.prepare(
            entry.module, chosen.batch, entry.pixels, train, entry.start
        )
        jax.block_until_ready(made.function(*made.calls[0]))
    return made


def _prepare_theirs(entry: _Entry, mode: str, kind: str) -> _Theirs:
    chosen = entry.chosen
    peer = torch_peers.build(chosen.model, entry.module, entry.start.variables)
    train = mode == measure.TRAINING
    make = torch_programs.training if train else torch_programs.inference
    calls = [peer.convert(example) for example in entry.start.examples]
    function = make(peer, chosen.dtype, kind == COMPILED)
    function(*calls[0])
    return _Theirs(function, calls, peer.source)


def _time(
    entry: _Entry,
    mode: str,
    made: program.Program,
    peers: dict[str, _Theirs],
    peak: float | None,
    findings: Findings,
) -> Figures:
    """Time what is ready of a mode in turns, and return its row."""
    chosen, train = entry.chosen, mode == measure.TRAINING
    contestants = [turns.Contestant(OURS, made.flops, made.function, made.calls)]
    contestants += [
        pairs.contestant(kind, made.flops, each.function, each.calls)
        for kind, each in peers.items()
    ]
    with findings.alone():
        times = turns.measure(contestants, chosen.timing, pairs.PAUSE)
    row = measure.make_row(
        *(chosen.model, made, chosen.batch, chosen.dtype, train, times.waited[:, 0]),
        queued=times.queued_of(0),
    )
    compared: dict[str, Figures] = {}
    for index, (kind, each) in enumerate(peers.items(), start=1):
        difference = None
        if not train:
            difference = pairs.difference_of(made, each.function, each.calls[0])
        pair = pairs.make_pair(row, kind, each.source, times, index, difference)
        compared[kind] = _compared(pair)
    return {"mode": mode, **program_figures(row, peak), "peers": compared}


def program_figures(row: measure.Row, peak: float | None) -> Figures:
    """Return what to know of a program of ours that was timed."""
    assert row.latency is not None
    assert row.flops is not None
    timed = row.queued or row.latency
    return {
        "batch": row.batch_size,
        "inputs": row.inputs,
        "milliseconds": 1e3 * timed.median,
        "low": _milliseconds(timed.low),
        "high": _milliseconds(timed.high),
        "waited_milliseconds": 1e3 * row.latency.median,
        "queued_calls": row.queued.calls if row.queued else 0,
        "images_per_second": row.images_per_second,
        "compile_seconds": row.latency.compile_seconds,
        "flops": row.flops,
        "share_of_measured_peak": row.flops / timed.median / peak if peak else None,
        "memory_bytes": row.memory.bytes if row.memory else None,
        "rounds": timed.repeats,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _compared(pair: pairs.Pair) -> Figures:
    return {
        "milliseconds": 1e3 * (pair.queued[1] if pair.queued else pair.theirs).median,
        "waited_milliseconds": 1e3 * pair.theirs.median,
        "ratio": pair.ratio,
        "waited_ratio": pair.waited_ratio,
        "low": pair.low,
        "high": pair.high,
        "difference": pair.difference,
        "source": pair.source,
    }


def headline(figures: Figures) -> str:
    """Return what is fast, in a line."""
    rows = figures.get("rows", [])
    assert isinstance(rows, list)
    return "; ".join(_sentence(row) for row in rows)


def _sentence(row: Figures) -> str:
    peers = row["peers"]
    assert isinstance(peers, dict)
    words = [f"{row['mode']} {row['milliseconds']:.3g} ms"]
    words += [
        f"{peer['ratio']:.3f} ({peer['low']:.3f}-{peer['high']:.3f}) of {kind}"
        for kind, peer in peers.items()
    ]
    share = row["share_of_measured_peak"]
    if isinstance(share, float):
        words.append(f"{100 * share:.0f} % of the peak")
    return ", ".join(words)
