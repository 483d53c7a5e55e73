"""Seconds from starting a command to its first result, by parts.

A process for each model, as a user starts it: `bench` to its first row with one call,
`bench --train`, or `train --config` to its first step. The compilation cache is a
directory of its own, empty at first, kept for a second process with `--warm`.

    python    until the first line of the command
    imports   of modules, wherever in the command they are
    trace     functions of Python to jaxprs
    lower     these to StableHLO
    compile   that to machine code; on a GPU most of it is trying out kernels
    other     what is left: arguments, the device's start, transfers, the first call

What lies within something else counts as that. A process past its limit is ended, and
its row says what it was at.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tokenjax import storage, tables, timed_process
from tokenjax.tables import Column

PROCESS = "tokenjax.timed_process"
PARTS = ("import", "trace", "lower", "compile")
PYTHON, OTHER = "python", "other"
SAID = 200  # characters of what a process said last
LONGEST_GAPS, LONGEST_PROGRAMS = 5, 8


class Case(NamedTuple):
    """What is started: a command's name, its flags, and what the row is called."""

    name: str
    command: str
    flags: tuple[str, ...]


class Ended(NamedTuple):
    """A process that was: when, how much it computed, and what it said."""

    begun: float
    ended: float
    processor: float
    status: int
    said: str


class Span(NamedTuple):
    """Something that the process did, from `start` to `end`, in seconds since then."""

    kind: str
    name: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class Started:
    """What one process took.

    Attributes:
      name, command: of the case.
      warm: whether the compilation cache held its programs.
      seconds: to the first result; to its end where there is a problem.
      processor: seconds that it computed on all cores; fewer moments than `seconds`
        are another program's doing.
      parts: of these, by name.
      programs: how many were compiled.
      read: how many of them came from the cache.
      longest: of the programs, the seconds of each by kind, most first.
      gaps: what is "other": seconds, and between what it was.
      device: what it computed on; "" where there is no result.
      problem: why there is none; "" where there is one.
    """

    name: str
    command: str
    warm: bool
    seconds: float
    processor: float
    parts: dict[str, float]
    programs: int
    read: int
    longest: dict[str, dict[str, float]]
    gaps: list[tuple[float, str, str]]
    device: str = ""
    problem: str = ""


def _part(name: str) -> Callable[[Started], float]:
    return lambda row: row.parts[name]


COLUMNS: tuple[Column[Started], ...] = (
    Column("Model", lambda row: row.name, "s"),
    Column("Command", lambda row: row.command, "s"),
    Column("Cache", lambda row: "warm" if row.warm else "cold", "s"),
    Column("Seconds", lambda row: row.seconds, ".1f"),
    Column("CPU", lambda row: row.processor, ".1f"),
    Column("Python", _part(PYTHON), ".1f"),
    Column("Imports", _part("import"), ".1f"),
    Column("Trace", _part("trace"), ".1f"),
    Column("Lower", _part("lower"), ".1f"),
    Column("Compile", _part("compile"), ".1f"),
    Column("Other", _part(OTHER), ".1f"),
    Column("Programs", lambda row: row.programs, "d"),
    Column("Read", lambda row: row.read, "d"),
    Column("Longest", lambda row: _longest(row), "s"),
    Column("Problem", lambda row: row.problem, "s"),
)


def _longest(row: Started) -> str:
    """Return the program that took longest, with its seconds."""
    for name, kinds in row.longest.items():
        return f"{name} {sum(kinds.values()):.1f}"
    return ""


def measure(
    cases: Sequence[Case],
    warm: bool,
    limit: float,
    until: float,
    on_row: Callable[[list[Started]], object],
) -> list[Started]:
    """Start every case, one after another.

    Args:
      cases: what to start.
      warm: also start each a second time, with the cache that the first has left.
      limit: seconds after which a process is ended.
      until: the moment (`time.time()`) at which all are.
      on_row: called with all rows so far after each.
    """
    rows: list[Started] = []
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="tokenjax-starting-") as place:
            for again in (False, True) if warm else (False,):
                seconds = min(limit, until - time.time())
                if seconds <= 0 or (again and rows[-1].problem):
                    break
                rows.append(start(case, pathlib.Path(place), again, seconds))
                on_row(rows)
    return rows


def start(case: Case, place: pathlib.Path, warm: bool, limit: float) -> Started:
    """Start one process and return what it took; `place` is its directory."""
    written = place / ("warm.jsonl" if warm else "cold.jsonl")
    said = place / "said.txt"
    command = [sys.executable, "-m", PROCESS, str(written), case.command, *case.flags]
    if case.command == "train":
        command += [f"--workdir={place / written.stem}"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(place / "cache")}
    before = _children_seconds()
    with open(said, "wb") as output:
        begun = time.time()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            pass  # its row says so
        finally:
            process.kill()
            process.wait()
    ended = time.time()
    text = said.read_text("utf-8", errors="replace")
    lines = written.read_text("utf-8").splitlines() if written.exists() else []
    found = Ended(begun, ended, _children_seconds() - before, process.returncode, text)
    return summarize(case, warm, found, _read(lines))


def _children_seconds() -> float:
    """Return the seconds that ended processes of this one have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Read what the process wrote; its last line may be cut."""
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return events


def summarize(
    case: Case, warm: bool, process: Ended, events: Sequence[dict[str, Any]]
) -> Started:
    """Return the row of a process by what `timed_process` wrote of it."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_kind.setdefault(event["kind"], []).append(event)
    results = by_kind.get(timed_process.RESULT)
    end = results[0]["start"] if results else process.ended
    first = by_kind.get(timed_process.BEGUN, [{"start": end}])[-1]["start"]
    spans = outermost(_spans(events, end))
    parts = dict.fromkeys((PYTHON, *PARTS, OTHER), 0.0)
    parts[PYTHON] = first - process.begun
    for span in spans:
        parts[span.kind] += span.end - span.start
    parts[OTHER] = end - process.begun - sum(parts.values())
    compiled = [each for each in by_kind.get("compile", []) if each["end"] is not None]
    return Started(
        name=case.name,
        command=case.command,
        warm=warm,
        seconds=end - process.begun,
        processor=process.processor,
        parts=parts,
        programs=len(compiled),
        read=len(by_kind.get(timed_process.READ, [])),
        longest=_programs(spans),
        gaps=_gaps(spans, first, end),
        device=results[0]["name"] if results else "",
        problem="" if results else _problem(spans, process),
    )


def _spans(events: Sequence[dict[str, Any]], end: float) -> list[Span]:
    """Return what was done, and what was being done at the end."""
    spans, begun = [], {}
    for event in events:
        key = event["kind"], event["name"], event["start"]
        if event["kind"] not in PARTS:
            continue
        if event["end"] is None:
            begun[key] = Span(*key, end)
        else:
            begun.pop(key, None)
            spans.append(Span(*key, event["end"]))
    return [*spans, *begun.values()]


def outermost(spans: Sequence[Span]) -> list[Span]:
    """Return the spans that lie in no other, in the order of time."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not found or span.start >= found[-1].end:
            found.append(span)
    return found


def _programs(spans: Sequence[Span]) -> dict[str, dict[str, float]]:
    """Return the seconds of the programs that took longest, by what was done."""
    found: dict[str, dict[str, float]] = {}
    for span in spans:
        if span.kind != "import":
            own = found.setdefault(span.name, {})
            own[span.kind] = own.get(span.kind, 0.0) + span.end - span.start
    longest = sorted(found.items(), key=lambda item: -sum(item[1].values()))
    return dict(longest[:LONGEST_PROGRAMS])


def _gaps(
    spans: Sequence[Span], first: float, end: float
) -> list[tuple[float, str, str]]:
    """Return the longest times in which nothing was told, and between what."""
    whole = [
        Span("", "begin", first, first),
        *spans,
        Span("", "first result", end, end),
    ]
    gaps = [
        (after.start - before.end, _said(before), _said(after))
        for before, after in itertools.pairwise(whole)
    ]
    return sorted(gaps, reverse=True)[:LONGEST_GAPS]


def _said(span: Span) -> str:
    return f"{span.kind} {span.name}".strip()


def _problem(spans: Sequence[Span], process: Ended) -> str:
    """Say what a process without a result was at, or what it said last."""
    end = process.ended
    if process.status == -signal.SIGKILL:
        at = [span for span in spans if span.end == end]
        doing = "".join(
            f", for {end - span.start:.0f} s at: {_said(span)}" for span in at
        )
        return f"no result in {end - process.begun:.0f} s{doing}"
    lines = process.said.strip().splitlines() or ["nothing"]
    return f"ended with status {process.status}: {lines[-1][:SAID]}"


def write(
    path: str, rows: Sequence[Started], about: dict[str, Any], flags: dict[str, Any]
) -> None:
    """Write everything as JSON."""
    everything = about | {
        "flags": flags,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    storage.write_json(pathlib.Path(path), everything)


def table(rows: Sequence[Started]) -> str:
    """Return the rows as a table for the terminal."""
    return "\n".join(tables.text_lines(rows, COLUMNS))
