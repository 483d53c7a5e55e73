"""A run of the benchmark as JSON, and what has changed since another run.

A row has changed if its median is off by more than `LEAST` and the 95 % confidence
intervals of the two medians are apart. Runs on a machine that itself became faster or
slower differ in every row: a plain product, timed in each run, tells.
"""

import dataclasses
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import storage
from tokenjax.benchmark import hardware, latency, measure
from tokenjax.benchmark.pairs import Pair
from tokenjax.errors import UserError

FORMAT = 1
LEAST = 0.05
KEY = ("model", "mode", "dtype", "batch_size", "inputs")
Json = dict[str, Any]
EXACT = ("parameters", "flops")


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
        "command": " ".join(sys.argv),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "reference_product_ms": 1e3 * reference_product(),
    }


def reference_product(side: int = 1024, repeats: int = 9) -> float:
    """Return the median seconds of a float32 matrix product: the machine's speed."""
    matrix = jnp.ones((side, side), jnp.float32)
    timing = latency.Timing(warmup=1, repeats=repeats)
    return latency.measure_latency(lambda x: x @ x, [(matrix,)], timing).median


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
    return value


def changes(old: Json, rows: Sequence[measure.Row], where: Json) -> list[str]:
    """Return sentences on every row that is in both runs and differs."""
    found = list(_machine(old.get("environment", {}), where))
    before = {tuple(row[key] for key in KEY): row for row in old["rows"]}
    compared = alike = 0
    for row in map(dataclasses.asdict, rows):
        earlier = before.get(tuple(row[key] for key in KEY))
        if earlier is None:
            continue
        different = _differences(row, earlier)
        compared, alike = compared + 1, alike + (not different)
        found += different
    found.append(
        f"{compared} of {len(rows)} rows are in both runs; of {alike} nothing changed "
        f"by more than the noise ({LEAST:.0%}, and 95 % intervals apart)."
    )
    return found


def _machine(old: Json, new: Json) -> list[str]:
    lines = [
        f"{key} was {old.get(key)}, is {new[key]}"
        for key in ("hardware", "jax")
        if old.get(key) != new[key]
    ]
    before = old.get("reference_product_ms")
    if before:
        ratio = new["reference_product_ms"] / before
        if abs(ratio - 1) > LEAST:
            lines.append(
                f"the machine itself: a plain product takes {ratio:.2f} times as long"
            )
    return lines


def _differences(row: Json, old: Json) -> list[str]:
    label = f"{row['model']} {row['mode']} {row['dtype']} batch {row['batch_size']}"
    lines = [
        f"{label}: {key} {old.get(key)} -> {row[key]}"
        for key in EXACT
        if old.get(key) != row[key]
    ]
    now, then = row["latency"], old.get("latency")
    if not now or not then:
        if bool(now) != bool(then):
            lines.append(f"{label}: {'measured now' if now else row['problem']}")
        return lines
    ratio = now["median"] / then["median"]
    apart = now["low"] > then["high"] or now["high"] < then["low"]
    if apart and abs(ratio - 1) > LEAST:
        lines.append(
            f"{label}: median {1e3 * then['median']:.2f} -> {1e3 * now['median']:.2f} "
            f"ms ({ratio:.2f} times)"
        )
    return lines
