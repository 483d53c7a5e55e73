"""Damaged checkpoints for `fuzz`: the workdir of a run, and what becomes of it.

`run(seed, directory)` copies a small run with a converted checkpoint in it (made once
per process), damages it, and plays a user: evaluates the last, the best and the
converted one, goes on from the newest, saves again. Allowed: the right state of the
step that was given, with a word for every checkpoint passed over; or a refusal in one
sentence. Anything else raises.

One damage is not dealt, as nothing could tell it: checksums that are gone together with
altered arrays. A checkpoint without checksums is read, and said to be unchecked.
"""

import atexit
import contextlib
import functools
import io
import json
import pathlib
import random
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import disk_errors, storage
from tokenjax.errors import UserError
from tokenjax.training.checkpoints import (
    Checkpoints,
    load_initial_variables,
)
from tokenjax.training.observation.metric_log import MetricLog
from tokenjax.training.workdir import claim_workdir, compare_workdir

CONFIG = {"seed": 0, "model": {"name": "vit"}, "data": {"source": "digits"}}
METRICS = {2: 0.5, 4: 0.9, 6: 0.1, 8: 0.2}  # 4 is the best, 6 and 8 the newest
KEPT = (4, 6, 8)


def run(seed: int, directory: pathlib.Path) -> str:
    """Damage one run as the seed says, and read it as a user would.

    Args:
      seed: decides all.
      directory: empty; what is left in it shows what happened.

    Returns: "handled: ..." or "refused: ...", with the damage.

    Raises: AssertionError for a wrong state, and whatever escaped.
    """
    workdir = directory / "run"
    shutil.copytree(_whole_run(), workdir)
    damage = damage_at_random(seed, workdir)
    read = [read_as_eval(workdir, which) for which in ("last", "best")]
    read.append(read_as_eval(workdir / "converted", "last"))
    outcome = go_on(workdir)
    refused = outcome.startswith("refused") or any(r.startswith("refu") for r in read)
    return f"{'refused' if refused else 'handled'}: {damage} -> {outcome}; {read}"


def damage_at_random(seed: int, workdir: pathlib.Path) -> str:
    """Damage a workdir in one to three places; return what was done."""
    draws = random.Random(seed)
    if draws.random() < 0.08:
        return _without_checksums(draws, workdir)
    done = []
    for _ in range(draws.choice([1, 1, 1, 2, 3])):
        files = _files(workdir)
        sidecars = [path for path in files if path.parent.name == "checksums"]
        metrics = [path for path in files if path.name == "metrics"]
        # Drawn evenly, nearly all would be arrays: they have the most files.
        path = draws.choice(draws.choice([files, files, sidecars, metrics]) or files)
        kind = draws.choice(KINDS)
        if path in sidecars and kind in (_delete, _link):
            kind = _empty
        kind(draws, path, files)
        name = "_litter" if kind is _litter else f"{path.relative_to(workdir)}"
        done.append(f"{kind.__name__} {name}")
    return ", ".join(done)


def _without_checksums(draws: random.Random, workdir: pathlib.Path) -> str:
    """Delete all checksums, or one's, as if a kill had come before them."""
    sidecars = sorted((workdir / "checkpoints" / "checksums").glob("*.json"))
    gone = draws.choice([sidecars, sidecars[-1:]])
    for path in gone:
        path.unlink()
    return f"without the checksums of {', '.join(path.stem for path in gone)}"


def _files(workdir: pathlib.Path) -> list[pathlib.Path]:
    """List files in an order that runs share, though Orbax names some at random."""
    files = [path for path in workdir.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: (path.parent, path.stat().st_size, path))


def read_as_eval(workdir: pathlib.Path, which: str) -> str:
    """Read what eval.py would get.

    Raises: AssertionError if it is not the state of the step that was asked for.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            variables = load_initial_variables(workdir, which)
    except UserError as error:
        return f"refused: {_sentence(error)}"
    wanted = 4 if which == "best" or workdir.name == "converted" else max(KEPT)
    expected = {"params": _state(wanted)["params"]}
    assert _same(variables, expected), f"{which} is not the state of step {wanted}"
    return "read"


def go_on(workdir: pathlib.Path) -> str:
    """Do what train.py would: take up the newest whole checkpoint, and save again.

    Raises: AssertionError if the state is not the one of its step, or something was
      passed over without a word.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), disk_errors.said(workdir):
            compare_workdir(workdir, CONFIG)
            claim_workdir(workdir, CONFIG)
            with Checkpoints(workdir) as checkpoints:
                restored = checkpoints.restore_last(_state(0), _sharding())
                if restored is None:
                    raise AssertionError("a run with checkpoints started anew")
                step = int(restored["step"])
                MetricLog(workdir, step).close()
                assert step in KEPT, f"step {step} was never saved"
                assert _same(restored, _state(step)), f"a wrong state at step {step}"
                assert step == max(KEPT) or said.getvalue(), "nothing said"
                checkpoints.save(10, _state(10), 0.3)
            with Checkpoints(workdir) as checkpoints:
                again = checkpoints.restore_last(_state(0), _sharding())
    except UserError as error:
        return f"refused: {_sentence(error)}"
    assert _same(again, _state(10)), "a wrong state after the next save"
    return f"went on from {step}"


def _state(step: int) -> dict[str, Any]:
    draws = np.random.default_rng(step)
    params = {
        "kernel": draws.normal(size=(64, 64)).astype(np.float32),
        "bias": draws.normal(size=64).astype(np.float32),
    }
    return {
        "step": jnp.int32(step),
        "params": jax.tree.map(jnp.asarray, params),
        "model_state": None,
        "opt_state": jnp.asarray(draws.normal(size=200), jnp.float32),
    }


def _sharding() -> jax.sharding.Sharding:
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def _same(found: object, expected: object) -> bool:
    ours, theirs = jax.tree.leaves(found), jax.tree.leaves(expected)
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def _sentence(error: UserError) -> str:
    text = str(error)
    assert len(text.splitlines()) == 1, f"not one line: {text!r}"
    assert "Traceback" not in text, text
    return text


@functools.cache
def _whole_run() -> pathlib.Path:
    place = tempfile.TemporaryDirectory(prefix="tokenjax-whole-run-")
    atexit.register(place.cleanup)
    workdir = pathlib.Path(place.name) / "run"
    claim_workdir(workdir, CONFIG)
    log = MetricLog(workdir, 0)
    with Checkpoints(workdir) as checkpoints:
        for step, metric in METRICS.items():
            log.write(step, {"train/loss": 1 / step, "validation/top1": metric})
            checkpoints.save(step, _state(step), metric)
    log.close()
    variables = {"params": _state(4)["params"]}
    storage.save_variables(workdir / "converted", variables, {"model": {"name": "vit"}})
    with Checkpoints(workdir, writable=False) as checkpoints:
        assert checkpoints.steps() == list(KEPT)
    return workdir


Damage = Callable[[random.Random, pathlib.Path, list[pathlib.Path]], None]


def _flip(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    content = bytearray(path.read_bytes())
    for _bit in range(draws.choice([1, 1, 8]) if content else 0):
        content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    path.write_bytes(content)


def _truncate(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draws.randrange(max(len(content), 1))])


def _empty(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    path.write_bytes(b"")


def _garbage(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    values: list[Any] = [
        None,
        3,
        "x",
        [],
        {},
        {"best_metric": "x"},
        {"best_metric": 1e999},
    ]
    values += [[[[]]], {"custom_metadata": 3}, {"custom_metadata": {"a": []}}, [1] * 9]
    path.write_text(json.dumps(draws.choice(values)))


def _delete(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    path.unlink()


def _swap(draws: random.Random, path: pathlib.Path, files: list[pathlib.Path]) -> None:
    other = draws.choice(files)
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


def _repeat(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    path.write_bytes(path.read_bytes() * 2)


def _link(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    path.unlink()
    targets = [path, path.parent, pathlib.Path("/dev/null"), pathlib.Path("nowhere")]
    path.symlink_to(draws.choice(targets))


def _directory(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    path.unlink()
    path.mkdir()


def _litter(draws: random.Random, path: pathlib.Path, _: list[pathlib.Path]) -> None:
    """Leave what a kill, a user or a program leaves among the checkpoints."""
    root = next(up for up in path.parents if up.name == "run") / "checkpoints"
    half = root / draws.choice(
        ["10.orbax-checkpoint-tmp", "9", "deleted/2", "damaged-8", "007", "²", "backup"]
    )
    if half.exists():
        return
    half.parent.mkdir(exist_ok=True)
    if draws.random() < 0.3:
        half.write_text("in the way")
        return
    half.mkdir()
    for name in ("state", "metrics")[: draws.randrange(3)]:
        (half / name).mkdir()
    (root / "checksums" / "10.json").write_text("{")


KINDS = [_flip, _truncate, _empty, _garbage, _delete, _swap, _repeat, _link]
KINDS += [_directory, _litter]
