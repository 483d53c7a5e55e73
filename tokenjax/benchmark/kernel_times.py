"""Where a device's time goes: kernels of a profile, by kind and by part of the model.

    seconds      of one call; an operation within another (of a loop) counts for itself
    idle         share of the time from the first kernel to the end of the last in which
                 none runs, whatever stream it would run on
    kind         what a kernel does (`kernel_kinds`)
    part         modules of the model that the operation comes from (`hlo_text.part`)

A GPU's profile has a plane for each device and a line for each stream; a TPU's has a
line of operations; a CPU's operations are among the events of the host's threads. All
are read from the `.xplane.pb` that JAX writes; TensorFlow is not needed.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from tokenjax.benchmark import hlo_text, kernel_kinds
from tokenjax.benchmark.hlo_text import Operation

UNKNOWN = "not known"  # a kernel whose operation the profile does not tell
NS = 1e-9
# Lines of a device that say again, in other words, what its streams ran.
_DERIVED = ("XLA Modules", "XLA TraceMe", "Steps", "Framework", "Source", "Async")


class Event(Protocol):
    """One event of a profile, as `jax.profiler.ProfileData` has it."""

    @property
    def name(self) -> str: ...
    @property
    def start_ns(self) -> float: ...
    @property
    def duration_ns(self) -> float: ...
    @property
    def stats(self) -> Iterable[tuple[str, object]]: ...


class Line(Protocol):
    """Events of one stream or thread."""

    @property
    def name(self) -> str: ...
    @property
    def events(self) -> Iterable[Event]: ...


class Plane(Protocol):
    """Lines of one device or host."""

    @property
    def name(self) -> str: ...
    @property
    def lines(self) -> Iterable[Line]: ...


class _Run(NamedTuple):
    """A kernel run once: its own nanoseconds, and the operation's name if told."""

    device: str
    name: str
    operation: str
    start: float
    end: float
    own: float


@dataclasses.dataclass(frozen=True)
class Kernel:
    """All runs of one kernel for one operation.

    Attributes:
      name: of the kernel on a GPU, of the operation on a CPU.
      kind, part: see the module.
      seconds: of one call of the program, all devices.
      runs: in one call.
    """

    name: str
    kind: str
    part: str
    seconds: float
    runs: float


@dataclasses.dataclass(frozen=True)
class KernelTimes:
    """What a profile of some calls says.

    Attributes:
      kernels: the longest first.
      calls: of the program that the profile holds.
      span: seconds of a call from the first kernel to the end of the last, mean over
        the devices.
      idle: share of it in which no kernel runs.
      devices: that ran something.
    """

    kernels: tuple[Kernel, ...]
    calls: int
    span: float
    idle: float
    devices: int

    @property
    def seconds(self) -> float:
        """Return the sum of all kernels' seconds in one call."""
        return sum(kernel.seconds for kernel in self.kernels)

    @property
    def known(self) -> float:
        """Return the share of seconds whose part of the model is known."""
        known = sum(each.seconds for each in self.kernels if each.part != UNKNOWN)
        return known / self.seconds if self.kernels else 0.0


class Share(NamedTuple):
    """Kernels taken together.

    Attributes:
      name: what they have in common.
      seconds, runs: of one call.
      share: of all seconds.
      most: of what else there is to say, what takes most of the seconds.
    """

    name: str
    seconds: float
    runs: float
    share: float
    most: str


def summarize(
    planes: Iterable[Plane], operations: Mapping[str, Operation], calls: int
) -> KernelTimes:
    """Return what a profile of `calls` calls of a program says.

    `operations` are the program's (`hlo_text.read`); what other programs ran counts
    too, as a part that is not known.
    """
    runs = list(_runs(planes))
    by_kernel: dict[tuple[str, str], list[_Run]] = collections.defaultdict(list)
    sanitized = {_sanitize(name): name for name in operations}
    for run in runs:
        named = run.operation if run.operation in operations else ""
        named = named or sanitized.get(_sanitize(run.name), "")
        by_kernel[run.name, named].append(run)
    kernels = [
        Kernel(
            name=name,
            kind=kernel_kinds.kind(name, operations.get(operation)),
            part=hlo_text.part(operations[operation].scope) if operation else UNKNOWN,
            seconds=NS * sum(run.own for run in group) / calls,
            runs=len(group) / calls,
        )
        for (name, operation), group in by_kernel.items()
    ]
    span, busy, devices = _span(runs)
    return KernelTimes(
        kernels=tuple(sorted(kernels, key=lambda kernel: -kernel.seconds)),
        calls=calls,
        span=NS * span / calls,
        idle=1 - busy / span if span else 0.0,
        devices=devices,
    )


def by_kernel(times: KernelTimes) -> list[Share]:
    """Return the kernels, equal ones of other numbers folded, with their parts."""
    return _together(times, lambda each: _fold(each.name), lambda each: each.part)


def by_kind(times: KernelTimes) -> list[Share]:
    """Return the kinds, with the parts of the model that take most of each."""
    return _together(times, lambda each: each.kind, lambda each: each.part)


def by_part(times: KernelTimes) -> list[Share]:
    """Return the parts of the model, with the kinds that take most of each."""
    return _together(times, lambda each: each.part, lambda each: each.kind)


def _together(
    times: KernelTimes,
    name: Callable[[Kernel], str],
    other: Callable[[Kernel], str],
) -> list[Share]:
    groups: dict[str, list[Kernel]] = collections.defaultdict(list)
    for kernel in times.kernels:
        groups[name(kernel)].append(kernel)
    shares = []
    for label, group in groups.items():
        seconds = sum(kernel.seconds for kernel in group)
        others: dict[str, float] = collections.defaultdict(float)
        for kernel in group:
            others[other(kernel)] += kernel.seconds
        shares.append(
            Share(
                label,
                seconds,
                sum(kernel.runs for kernel in group),
                seconds / times.seconds if times.seconds else 0.0,
                max(others, key=lambda label: others[label]),
            )
        )
    return sorted(shares, key=lambda share: -share.seconds)


def _runs(planes: Iterable[Plane]) -> Iterator[_Run]:
    """Yield every kernel run; those of the devices alone, where there are some."""
    planes = list(planes)
    devices = [p for p in planes if re.match(r"/device:(GPU|TPU)", p.name)]
    for plane in devices or [p for p in planes if p.name.startswith("/host:CPU")]:
        lines = [line for line in plane.lines if not line.name.startswith(_DERIVED)]
        streams = [line for line in lines if line.name.startswith("Stream #")]
        operations = [line for line in lines if line.name == "XLA Ops"]
        for line in streams or operations or lines:
            yield from _own_times(plane.name, line, every=bool(devices))


def _own_times(device: str, line: Line, every: bool) -> Iterator[_Run]:
    """Yield a line's runs, what runs within another taken off that one's time.

    Not `every`: only events that name an operation.
    """
    found: list[tuple[float, float, str, str]] = []
    for event in line.events:
        stats = dict(event.stats)
        operation = str(stats.get("hlo_op", ""))
        if event.duration_ns > 0 and (every or operation):
            end = event.start_ns + event.duration_ns
            found.append((event.start_ns, end, event.name, operation))
    found.sort(key=lambda each: (each[0], -each[1]))
    own = [end - start for start, end, *_ in found]
    around: list[int] = []  # those that the next may be within, the outermost first
    for index, (start, end, *_) in enumerate(found):
        while around and found[around[-1]][1] <= start:
            around.pop()
        if around and end <= found[around[-1]][1]:
            own[around[-1]] -= end - start
        around.append(index)
    for (start, end, name, operation), seconds in zip(found, own, strict=True):
        yield _Run(device, name, operation, start, end, max(seconds, 0.0))


def _span(runs: Sequence[_Run]) -> tuple[float, float, int]:
    """Return nanoseconds from first to last and those in which a kernel runs.

    Both are means over the devices, whose number is the third.
    """
    by_device: dict[str, list[_Run]] = collections.defaultdict(list)
    for run in runs:
        by_device[run.device].append(run)
    spans = busy = 0.0
    for group in by_device.values():
        reached = first = min(run.start for run in group)
        for run in sorted(group, key=lambda run: run.start):
            busy += max(run.end - max(run.start, reached), 0.0)
            reached = max(reached, run.end)
        spans += reached - first
    count = max(len(by_device), 1)
    return spans / count, busy / count, len(by_device)


def _sanitize(name: str) -> str:
    """Write an operation's name as XLA writes it as a kernel's."""
    return re.sub(r"[.\-]", "_", name)


def _fold(name: str) -> str:
    return re.sub(r"([._]\d+)+$", "", name)
