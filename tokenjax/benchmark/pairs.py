"""Ours and PyTorch's program of one model, timed in turns: A B C A B C ...

The same weights, inputs, batch and precision. Each ratio is the median over the rounds
of ours over theirs within a round, so that what else the machine does hits both. On
accelerators as many calls of each are queued and waited for once (`queueing`): the
ratio is that of the device's time, and the calls that were waited for have theirs
beside it. In inference the outputs are compared too: a pair that computes something
else would prove nothing.
"""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import numpy as np

from tokenjax import tables
from tokenjax.benchmark import (
    cores,
    latency,
    measure,
    program,
    queueing,
    torch_peers,
    torch_programs,
    turns,
)
from tokenjax.tables import Column

PAUSE = 0.01  # seconds between calls: idle threads of the other library spin a while
MOST_WARMUP = 3
QUEUED = (
    "Ours/theirs is that of queued calls, as many of both waited for once, where they "
    "were timed; Waited: the ratio of calls that are waited for."
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Ours against one PyTorch program.

    Attributes:
      model, batch_size, dtype, mode: of both.
      peer: "eager" or "compiled".
      source: what the other is.
      ours, theirs: seconds of a call that is waited for.
      ratio: ours over theirs, median over the rounds, of queued calls where measured;
        `low`, `high` its 95 % interval, None of a single round.
      difference: of the outputs, relative in the 2-norm; None in training.
      threads: of the CPU, ours and theirs.
      queued: seconds of one of several calls, ours and theirs; None where none were
        queued.
      waited_ratio: of calls that are waited for; the ratio itself where none were
        queued.
    """

    model: str
    batch_size: int
    dtype: str
    mode: str
    peer: str
    source: str
    ours: latency.Latency
    theirs: latency.Latency
    ratio: float
    low: float | None
    high: float | None
    difference: float | None
    threads: tuple[int, int] = (0, 0)
    queued: tuple[latency.Latency, latency.Latency] | None = None
    waited_ratio: float | None = None


def measure_pairs(
    name: str,
    module: nn.Module,
    batch_size: int,
    dtype: str,
    image_size: int,
    timing: latency.Timing,
    train: bool,
    with_compiled: bool,
    label: str = "",
    look: measure.Look | None = None,
) -> tuple[measure.Row, list[Pair]]:
    """Measure a row of ours and its pairs; repeats and warm-ups are rounds.

    `label` is what the rows are called, if not by the model's name; `look` is called
    with ours and its program after the timing.

    Raises:
      UserError: a batch too big for the device.
    """
    label = label or name
    with measure.fitting(label, batch_size):
        made = measure.prepare(module, batch_size, image_size, train)
        kinds = ["eager", *(["compiled"] if with_compiled else [])]
        contestants = [turns.Contestant(label, made.flops, made.function, made.calls)]
        differences: list[float | None] = []
        peer = torch_peers.build(name, module, made.variables)
        examples = made.calls if train else [call[1:] for call in made.calls]
        calls = [peer.convert(example) for example in examples]
        make = torch_programs.training if train else torch_programs.inference
        for kind in kinds:
            function = make(peer, dtype, kind == "compiled")
            contestants.append(contestant(kind, made.flops, function, calls))
            difference = None if train else difference_of(made, function, calls[0])
            differences.append(difference)
        rounds = dataclasses.replace(timing, warmup=min(timing.warmup, MOST_WARMUP))
        times = turns.measure(contestants, rounds, PAUSE)
        torch_programs.free()
    row = measure.make_row(
        *(label, made, batch_size, dtype, train, times.waited[:, 0]),
        queued=times.queued_of(0),
    )
    if look:
        look(row, made)
    return row, [
        make_pair(row, kind, peer.source, times, index, difference)
        for index, (kind, difference) in enumerate(
            zip(kinds, differences, strict=True), start=1
        )
    ]


def contestant(
    kind: str, flops: float, function: torch_programs.Call, calls: Sequence[tuple]
) -> turns.Contestant:
    """Make a contestant of PyTorch's, whose calls can be queued as ours are."""
    return turns.Contestant(
        *(kind, flops, function, calls),
        queue=function.queue,
        wait=torch_programs.wait,
    )


def difference_of(
    made: program.Program, function: torch_programs.Call, call: tuple
) -> float:
    """Return how far outputs are apart, of ours and of theirs; relative, 2-norm."""
    ours = np.asarray(made.function(*made.calls[0]), np.float64)
    theirs = function(*call).float().cpu().numpy()
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def make_pair(
    row: measure.Row,
    kind: str,
    source: str,
    times: turns.Times,
    index: int,
    difference: float | None,
) -> Pair:
    """Compare ours, the first contestant of `times`, with the one at `index`."""
    waited = times.waited[:, 0] / times.waited[:, index]  # (rounds,)
    ratios = times.best[:, 0] / times.best[:, index]  # (rounds or groups,)
    several = len(ratios) > 1
    low, high = latency.median_interval(ratios) if several else (None, None)
    ours, theirs = (queueing.summary(times.queued_of(each)) for each in (0, index))
    return Pair(
        model=row.model,
        batch_size=row.batch_size,
        dtype=row.dtype,
        mode=row.mode,
        peer=kind,
        source=source,
        ours=latency.summarize(times.waited[:, 0]),
        theirs=latency.summarize(times.waited[:, index]),
        ratio=float(np.median(ratios)),
        low=low,
        high=high,
        difference=difference,
        threads=(cores.count(), torch_programs.count_threads()),
        queued=(ours, theirs) if ours and theirs else None,
        waited_ratio=float(np.median(waited)),
    )


def interval(pair: Pair) -> str | None:
    """Return the 95 % interval of a pair's ratio, None of a single round."""
    if pair.low is None or pair.high is None:
        return None
    return f"{pair.low:.3f}-{pair.high:.3f}"


def _queued(index: int) -> Callable[[Pair], float | None]:
    return lambda pair: 1e3 * pair.queued[index].median if pair.queued else None


FIRST_COLUMNS: tuple[Column[Pair], ...] = (
    Column("Model", lambda pair: pair.model, "s"),
    Column("Batch", lambda pair: pair.batch_size, "d"),
    Column("Mode", lambda pair: pair.mode, "s"),
    Column("Dtype", lambda pair: pair.dtype, "s"),
    Column("PyTorch", lambda pair: pair.peer, "s"),
    Column("Ours(ms)", lambda pair: 1e3 * pair.ours.median, ".2f"),
    Column("Theirs(ms)", lambda pair: 1e3 * pair.theirs.median, ".2f"),
)
OURS_QUEUED: Column[Pair] = Column("Ours_queued(ms)", _queued(0), ".2f")
THEIRS_QUEUED: Column[Pair] = Column("Theirs_queued(ms)", _queued(1), ".2f")
WAITED: Column[Pair] = Column("Waited", lambda pair: pair.waited_ratio, ".3f")
LAST_COLUMNS: tuple[Column[Pair], ...] = (
    Column("Ours/theirs", lambda pair: pair.ratio, ".3f"),
    Column("95%", interval, "s"),
    Column("Difference", lambda pair: pair.difference, ".1e"),
)


def columns_for(pairs: Sequence[Pair]) -> list[Column[Pair]]:
    """Return the columns, those on queued calls where there are some."""
    if not any(pair.queued for pair in pairs):
        return [*FIRST_COLUMNS, *LAST_COLUMNS]
    return [*FIRST_COLUMNS, WAITED, OURS_QUEUED, THEIRS_QUEUED, *LAST_COLUMNS]


def format_pairs(pairs: Sequence[Pair]) -> str:
    """Return the table, and under it what was compared."""
    return "\n".join([*tables.text_lines(pairs, columns_for(pairs)), "", *notes(pairs)])


def notes(pairs: Sequence[Pair]) -> list[str]:
    """Return what was compared, and how, in lines."""
    sources = dict.fromkeys(f"{pair.model}: {pair.source}" for pair in pairs)
    counts = dict.fromkeys(pair.threads for pair in pairs)
    threads = "; ".join(f"ours {ours}, PyTorch's {theirs}" for ours, theirs in counts)
    broken = dict.fromkeys(
        f"{pair.model} in {pair.dtype}"
        for pair in pairs
        if pair.difference is not None and not np.isfinite(pair.difference)
    )
    queued = any(pair.queued for pair in pairs)
    return [
        "Ours/theirs: median over the rounds of the ratio of times within a round; "
        "below 1 ours is faster. Difference: of the outputs, relative.",
        *([QUEUED] if queued else []),
        *([f"Outputs that are not finite: {', '.join(broken)}."] if broken else []),
        f"Threads of the CPU: {threads}.",
        f"PyTorch: {'; '.join(sources)}.",
    ]
