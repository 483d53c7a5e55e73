"""Our program of a model against PyTorch's, eager and compiled, timed in turns.

Both libraries compile at the same time, in threads; inference and a training step are
timed once their programs are there. What is not ready in time is left out, and said.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

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
from tokenjax.device_check.task import Task
from tokenjax.errors import UserError, first_line

OURS, EAGER, COMPILED = "ours", "eager", "compiled"
MODES = (measure.INFERENCE, measure.TRAINING)
RESERVED = 0.25  # of the limit, but at most
RESERVED_SECONDS = 15.0  # to time what is there by then
Calls = Sequence[tuple]


@dataclasses.dataclass
class _Theirs:
    """PyTorch's program, which has run once."""

    function: torch_programs.Call
    calls: Calls
    source: str


class _Race:
    """Both libraries' programs of one model, as they get ready."""

    def __init__(self, task: Task, findings: Findings, chosen: sizes.Chosen):
        self.task, self.findings, self.chosen = task, findings, chosen
        self.module, self.pixels = measure.build(
            chosen.model, chosen.arguments, chosen.dtype, chosen.pixels
        )
        self.kinds: list[str] = []
        reason = self._why_no_peer()
        if not reason:
            self.kinds = [EAGER, *([COMPILED] if chosen.compiled else [])]
        findings.add(model=chosen.model, no_peer=reason, dtype=chosen.dtype)
        self.start = program.start(self.module, chosen.batch, self.pixels)
        self.jobs: dict[tuple[str, str], Future] = {}
        self._ready: dict[str, float] = {}

    def _why_no_peer(self) -> str:
        """Return what is in the way of PyTorch's program, "" for nothing."""
        try:
            torch_peers.check_installed()
            torch_peers.check(self.chosen.model, self.module)
        except UserError as error:
            return str(error)
        return ""

    def begin(self) -> list[ThreadPoolExecutor]:
        """Begin to compile: two programs of ours at once, PyTorch's one by one."""
        ours, theirs = ThreadPoolExecutor(len(MODES)), ThreadPoolExecutor(1)
        for mode in MODES:
            self.jobs[OURS, mode] = ours.submit(self._run, OURS, mode, self._prepare)
            for kind in self.kinds:
                job = theirs.submit(self._run, kind, mode, self._prepare_theirs)
                self.jobs[kind, mode] = job
        return [ours, theirs]

    def _run(
        self, kind: str, mode: str, prepare: Callable[[str, str], object]
    ) -> object:
        """Prepare a program, and note when it was there."""
        found = prepare(kind, mode)
        self._ready[f"{kind} {mode}"] = round(self.findings.seconds(), 2)
        self.findings.add(ready_seconds=dict(self._ready))
        return found

    def _prepare(self, kind: str, mode: str) -> program.Program:
        del kind
        train, batch = mode == measure.TRAINING, self.chosen.batch
        with measure.fitting(self.chosen.model, batch):
            made = measure.prepare(self.module, batch, self.pixels, train, self.start)
            jax.block_until_ready(made.function(*made.calls[0]))
        return made

    def _prepare_theirs(self, kind: str, mode: str) -> _Theirs:
        peer = torch_peers.build(self.chosen.model, self.module, self.start.variables)
        train = mode == measure.TRAINING
        make = torch_programs.training if train else torch_programs.inference
        calls = [peer.convert(example) for example in self.start.examples]
        function = make(peer, self.chosen.dtype, kind == COMPILED)
        function(*calls[0])
        return _Theirs(function, calls, peer.source)

    def time(self, mode: str) -> None:
        """Time what is ready of a mode, and add its row."""
        ours = self._result(OURS, mode)
        theirs = {kind: self._result(kind, mode) for kind in self.kinds}
        if not isinstance(ours, program.Program):
            self.findings.fail(f"{mode}: {ours}")
            return
        ready = {k: v for k, v in theirs.items() if isinstance(v, _Theirs)}
        late = {k: v for k, v in theirs.items() if not isinstance(v, _Theirs)}
        contestants = [turns.Contestant(OURS, ours.flops, ours.function, ours.calls)]
        contestants += [
            turns.Contestant(kind, ours.flops, each.function, each.calls)
            for kind, each in ready.items()
        ]
        with self.findings.alone():
            seconds = turns.time_in_turns(contestants, self.chosen.timing, pairs.PAUSE)
        self.findings.add_row(self._row(mode, ours, ready, late, seconds))

    def _result(self, kind: str, mode: str) -> object:
        """Return the program, or what went wrong."""
        job = self.jobs[kind, mode]
        if not job.done():
            return "not ready in time"
        error = job.exception()
        return first_line(error) if error else job.result()

    def _row(
        self,
        mode: str,
        ours: program.Program,
        ready: dict[str, _Theirs],
        late: dict[str, object],
        seconds: np.ndarray,
    ) -> Figures:
        chosen = self.chosen
        train = mode == measure.TRAINING
        row = measure.make_row(
            chosen.model, ours, chosen.batch, chosen.dtype, train, seconds[:, 0]
        )
        assert row.latency is not None
        rate = ours.flops / row.latency.median
        peers: dict[str, Figures] = {}
        for index, (kind, each) in enumerate(ready.items(), start=1):
            difference = None
            if not train:
                difference = pairs.difference_of(ours, each.function, each.calls[0])
            pair = pairs.make_pair(
                row, kind, each.source, seconds[:, 0], seconds[:, index], difference
            )
            peers[kind] = {
                "milliseconds": 1e3 * pair.theirs.median,
                "ratio": pair.ratio,
                "low": pair.low,
                "high": pair.high,
                "difference": difference,
                "source": each.source,
            }
        return {
            "mode": mode,
            "batch": chosen.batch,
            "inputs": ours.inputs,
            "milliseconds": 1e3 * row.latency.median,
            "images_per_second": row.images_per_second,
            "compile_seconds": ours.compile_seconds,
            "flops": ours.flops,
            "share_of_measured_peak": rate / self.task.peak if self.task.peak else None,
            "rounds": len(seconds),
            "peers": peers,
            "not_compared": {kind: str(reason) for kind, reason in late.items()},
        }


def find(task: Task, findings: Findings) -> None:
    """Prepare, wait, and time each mode."""
    race = _Race(task, findings, sizes.choose(task))
    pools = race.begin()
    reserved = min(RESERVED * task.seconds, RESERVED_SECONDS)
    left = max(task.seconds - reserved - findings.seconds(), 0.0)
    concurrent.futures.wait(race.jobs.values(), timeout=left)
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    for mode in MODES:
        race.time(mode)
        findings.say(headline(findings.figures))


def headline(figures: Figures) -> str:
    """Return what is fast, in a line."""
    rows = figures.get("rows", [])
    assert isinstance(rows, list)
    return "; ".join(_sentence(row) for row in rows)


def _sentence(row: Figures) -> str:
    peers = row["peers"]
    assert isinstance(peers, dict)
    words = [f"{row['mode']} {row['milliseconds']:.3g} ms"]
    words += [f"{peer['ratio']:.3f} of {kind}" for kind, peer in peers.items()]
    share = row["share_of_measured_peak"]
    if isinstance(share, float):
        words.append(f"{100 * share:.0f} % of the peak")
    return ", ".join(words)
