"""A run's directory: config.json, and a refusal to mix two runs in one."""

import dataclasses
import pathlib
from typing import Any

import jax

from tokenjax import storage
from tokenjax.data import source_defaults
from tokenjax.errors import CheckpointError, UserError
from tokenjax.training.settings import Settings

# What may change when a run goes on: none of it alters the parameters (`fsdp` does by
# rounding, as another number of devices does).
_FREE = (
    "log_every_steps",
    "evaluate_every_epochs",
    "checkpoint",
    "profile",
    "figures",
    "observation",
    "distributed",
    "cluster",
    "fsdp",
    "ablation",
    "compare",
)
_WITHOUT_DEFAULT = ("model", "data")


def open_workdir(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Makes the directory and its config.json, or checks that its run is this one.

    Raises: UserError if it cannot be written, or holds a run of another configuration.
    """
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _refuse_another(workdir, _read_config(path), config)
        if jax.process_index() == 0:
            storage.write_json(path, config)
    except OSError as error:
        raise UserError(f"{workdir} cannot be written: {error.strerror}") from error


def _read_config(path: pathlib.Path) -> dict[str, Any]:
    """Raises: UserError if it is no longer what a run wrote."""
    hint = "delete it if the checkpoints beside it are of this configuration"
    try:
        config = storage.read_json(path)
    except CheckpointError as error:
        raise UserError(f"{error}; {hint}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no configuration; {hint}")
    return config


def _refuse_another(workdir: pathlib.Path, old: dict, new: dict) -> None:
    defaults = _flat(dataclasses.asdict(Settings()))
    for key in list(defaults):
        if key.split(".")[0] in _WITHOUT_DEFAULT:
            del defaults[key]
    # A run of an older version lacks settings that have come since.
    before, after = (
        defaults | _flat({"data": _source_defaults(each)}) | _flat(each)
        for each in (old, new)
    )
    changed = [
        f"{key} {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and key.split(".")[0] not in _FREE
    ]
    if changed:
        raise UserError(
            f"{workdir} holds a run of another configuration ({'; '.join(changed)}); "
            "name another --workdir, or delete it"
        )


def _source_defaults(config: dict) -> dict[str, Any]:
    section = config.get("data")
    return source_defaults(section.get("source") if isinstance(section, dict) else None)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
