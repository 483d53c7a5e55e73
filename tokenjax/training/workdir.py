"""A run's directory: config.json, and a refusal to mix two runs in one."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from tokenjax import data, storage
from tokenjax.errors import CheckpointError, UserError
from tokenjax.training.settings import Settings, list_arguments

Config = Mapping[str, Any]


def open_workdir(
    workdir: pathlib.Path, config: Config, complete: Callable[[Config], Config] = dict
) -> None:
    """Make the directory and its config.json, or check that its run is this one.

    Args:
      workdir: of the run.
      config: of the run.
      complete: fills in what a configuration leaves to its model and its source; an
        older version's may lack some.

    Raises: UserError if it cannot be written, or holds a run of another configuration.
    """
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            old = _read_config(path)
            _refuse_another(workdir, complete(old), complete(config))
        if jax.process_index() == 0:
            storage.write_json(path, config)
    except OSError as error:
        raise UserError(f"{workdir} cannot be written: {error.strerror}") from error


def _read_config(path: pathlib.Path) -> dict[str, Any]:
    """Read config.json.

    Raises: UserError if it is no longer what a run wrote.
    """
    hint = "delete it if the checkpoints beside it are of this configuration"
    try:
        config = storage.read_json(path)
    except CheckpointError as error:
        raise UserError(f"{error}; {hint}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no configuration; {hint}")
    return config


def _refuse_another(workdir: pathlib.Path, old: Config, new: Config) -> None:
    defaults = dataclasses.asdict(Settings())
    for section in ("model", "data"):
        del defaults[section]
    # A run of an older version lacks settings that have come since.
    before, after = (_flat(defaults) | _flat(each) for each in (old, new))
    free = _list_free_keys(new)
    changed = [
        f"{key} {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
        and not any(key == each or key.startswith(f"{each}.") for each in free)
    ]
    if changed:
        raise UserError(
            f"{workdir} holds a run of another configuration ({'; '.join(changed)}); "
            "name another --workdir, or delete it"
        )


def _list_free_keys(config: Config) -> list[str]:
    """Return the keys that may change when a run goes on.

    None of them alters the parameters (`fsdp` does by rounding, as another number of
    devices does).
    """
    arguments = list_arguments()
    source = config.get("data", {}).get("source")
    if source in data.names():
        own = data.arguments(source)
        arguments |= {f"data.{name}": argument for name, argument in own.items()}
    return [key for key, argument in arguments.items() if argument.free]


def _flat(config: Config, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
