"""A run of the benchmark as JSON, and what has changed since another run.

A row has changed if its median is off by more than the noise of both runs (`noise`).
Runs on a machine that itself became faster or slower differ in every row: plain
products, timed beside each row, tell.
"""

import dataclasses
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax
import jax
import numpy as np

from tokenjax import storage
from tokenjax.benchmark import hardware, measure, noise, reference
from tokenjax.benchmark.pairs import Pair
from tokenjax.errors import UserError

FORMAT = 1
KEY = ("model", "mode", "dtype", "batch_size", "inputs")
Json = dict[str, Any]
EXACT = ("parameters", "flops")
TIMES = {"latency": "median", "queued": "queued median"}  # what runs before lack


def environment() -> Json:
    """Say where and with what the figures are found."""
    return {
        "hardware": hardware.describe(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": commit(pathlib.Path(__file__).parent),
        "command": shlex.join(sys.argv),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "reference_product_ms": reference.milliseconds(reference.PRODUCT),
    }


def beside_reference(make: Callable[[], list[measure.Row]]) -> list[measure.Row]:
    """Measure rows, and the machine's own speed before and after them."""
    before = reference.all_milliseconds()
    rows = make()
    after = reference.all_milliseconds()
    times = {name: (before[name], after[name]) for name in before}
    return [dataclasses.replace(row, reference_ms=times) for row in rows]


def commit(directory: pathlib.Path) -> str | None:
    """Return the commit of a directory's own files, "-dirty" if some differ from it.

    None without git, and for files that no repository has: those of an installed
    package may lie within a repository of something else.
    """
    kept = _git(directory, "ls-files", ".")
    return (
        _git(directory, "describe", "--always", "--dirty", "--abbrev=12")
        if kept
        else None
    )


def _git(directory: pathlib.Path, *arguments: str) -> str | None:
    """Return what git says, None if it is missing or has nothing to say."""
    try:
        found = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def write(
    path: str | os.PathLike[str],
    rows: Sequence[measure.Row],
    pairs: Sequence[Pair],
    settings: Mapping[str, object],
    where: Mapping[str, object],
) -> None:
    """Write the whole run."""
    value = {
        "format": FORMAT,
        "environment": dict(where),
        "settings": dict(settings),
        "rows": [dataclasses.asdict(row) for row in rows],
        "pairs": [dataclasses.asdict(pair) for pair in pairs],
    }
    storage.write_json(pathlib.Path(path), value)


def read(path: str | os.PathLike[str]) -> Json:
    """Read what `write` has written.

    Raises: UserError for a file that is missing or none of ours.
    """
    value = storage.read_json(pathlib.Path(path))
    rows = value.get("rows") if isinstance(value, dict) else None
    if not isinstance(rows, list) or value.get("format") != FORMAT:
        raise UserError(f"{path} is no benchmark of format {FORMAT}, as --json writes")
    if not all(isinstance(row, dict) and set(KEY) <= set(row) for row in rows):
        raise UserError(f"{path}: a row lacks one of {', '.join(KEY)}")
    for row in rows:
        for what in TIMES:
            timed = row.get(what)
            if timed and not all(_is_time(timed, key) for key in ("median", "minimum")):
                raise UserError(
                    f"{path}: the {what} of {row['model']} needs a 'median' and a "
                    "'minimum' above 0"
                )
    return value


def _is_time(timed: object, key: str) -> bool:
    value = timed.get(key) if isinstance(timed, dict) else None
    return isinstance(value, int | float) and value > 0


def changes(old: Json, rows: Sequence[measure.Row], where: Json) -> list[str]:
    """Return sentences on every row that is in both runs and differs.

    What differs within the noise is said to.
    """
    before = {tuple(row[key] for key in KEY): row for row in old["rows"]}
    made = [dataclasses.asdict(row) for row in rows]
    speeds = _speeds(made, where), _speeds(old["rows"], old.get("environment", {}))
    found = list(_machine(old.get("environment", {}), where))
    compared = alike = 0
    for row in made:
        earlier = before.get(tuple(row[key] for key in KEY))
        if earlier is None:
            continue
        sentences = _differences(row, earlier)
        changed = bool(sentences)
        for what in TIMES:
            if row[what] and earlier.get(what):
                named = [_of(what, each) for each in speeds]
                timed = noise.compare(row[what], earlier[what], *named)
                changed |= timed.changed
                sentences += _on_times(what, row, earlier, timed)
        compared, alike = compared + 1, alike + (not changed)
        found += sentences
    found.append(
        f"{compared} of {len(rows)} rows are in both runs; of {alike} nothing changed "
        f"by more than the noise (the 95 % interval of the ratio, {noise.LEAST:.0%}, "
        "and what plain products differ by over the runs)."
    )
    return found


def _speeds(rows: Sequence[Json], where: Json) -> dict[str, list[float]]:
    """Return all that a run's plain programs took, by their names."""
    first = where.get("reference_product_ms")
    speeds = {reference.PRODUCT: [first] if first else []}
    for row in rows:
        for name, times in (row.get("reference_ms") or {}).items():
            speeds.setdefault(name, []).extend(times)
    return {name: times for name, times in speeds.items() if times}


def _of(what: str, speeds: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return the speeds that tell of waited calls, or of queued ones if there are."""
    queued = {name: times for name, times in speeds.items() if name == reference.QUEUED}
    if what == "queued" and queued:
        return queued
    return {name: times for name, times in speeds.items() if name not in queued}


def _machine(old: Json, new: Json) -> list[str]:
    lines = [
        f"{key} was {old.get(key)}, is {new[key]}"
        for key in ("hardware", "jax")
        if old.get(key) != new[key]
    ]
    before = old.get("reference_product_ms")
    if before:
        ratio = new["reference_product_ms"] / before
        if abs(ratio - 1) > noise.LEAST:
            lines.append(
                f"the machine itself: a plain product takes {ratio:.2f} times as long"
            )
    return lines


def _label(row: Json) -> str:
    return f"{row['model']} {row['mode']} {row['dtype']} batch {row['batch_size']}"


def _differences(row: Json, old: Json) -> list[str]:
    """Return sentences on what is counted, and on what only one run could measure."""
    lines = [
        f"{_label(row)}: {key} {old.get(key)} -> {row[key]}"
        for key in EXACT
        if old.get(key) != row[key]
    ]
    now, then = row["latency"], old.get("latency")
    if bool(now) != bool(then):
        lines.append(f"{_label(row)}: {'measured now' if now else row['problem']}")
    return lines


def _on_times(what: str, row: Json, old: Json, timed: noise.Comparison) -> list[str]:
    """Say what changed, and of a median that is off all the same that it is noise."""
    if not timed.changed and abs(timed.ratio - 1) <= noise.LEAST:
        return []
    medians = [1e3 * each[what]["median"] for each in (old, row)]
    changed = f"{TIMES[what]} {medians[0]:.2f} -> {medians[1]:.2f} ms"
    sentence = f"{_label(row)}: {changed} ({timed})"
    if timed.changed:
        return [sentence]
    least, most = timed.machine
    speed = ""
    if max(most, 1 / least) > 1 + noise.LEAST:
        speed = f"; the machine took {least:.2f} to {most:.2f} times for plain products"
    return [f"{sentence}: within the noise{speed}"]
