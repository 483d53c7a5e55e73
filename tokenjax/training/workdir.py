"""A run's directory: held by one training, which compares first and claims later.

    with held(workdir):
        earlier = compare_workdir(workdir, config)  # of another run: refused
        ...                                         # whatever may fail
        claim_workdir(workdir, config)              # now config.json is there

A key may change when a run goes on if that alters no parameter: those marked `FREE`,
those that the other settings leave unread (`Unread`), those whose weights the run has
read already (`READ_AT_START`), and the run's length, which `going_on` looks after.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from tokenjax import card as cards
from tokenjax import data, storage
from tokenjax.arguments import Argument
from tokenjax.card import Card
from tokenjax.errors import CheckpointError, UserError
from tokenjax.training.checkpoints import FOLDER
from tokenjax.training.distribution.agreement import agreed
from tokenjax.training.run_lock import RunLock
from tokenjax.training.settings import Settings, list_arguments

CONFIG = "config.json"
LENGTH = ("epochs", "steps")  # see `going_on`
Config = Mapping[str, Any]


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
    """Hold a directory for one training; if it got nothing it is gone again at the end.

    With several processes, process 0 holds it for all.

    Raises: UserError if a run is going on there, or it cannot be written.
    """
    places = (workdir / FOLDER, workdir, *workdir.parents)
    absent = [place for place in places if not place.exists()]
    lock = RunLock(workdir)
    try:
        agreed(lock.acquire)
        yield
    finally:
        lock.release()
        for place in absent if not (workdir / CONFIG).exists() else ():
            with contextlib.suppress(OSError):
                place.rmdir()  # which removes what is empty alone


def compare_workdir(
    workdir: pathlib.Path, config: Config, complete: Callable[[Config], Config] = dict
) -> Config | None:
    """Return the configuration of the run that a directory holds; None without any.

    Args:
      workdir: of the run.
      config: of the run.
      complete: fills in what a configuration leaves to its model and its source; an
        older version's may lack some.

    Raises: UserError if it holds a run of another configuration.
    """
    path = workdir / CONFIG
    if not path.exists():
        return None
    old = complete(_read_config(path))
    _refuse_another(workdir, old, complete(config))
    return old


def claim_workdir(
    workdir: pathlib.Path, config: Config, card: Card | None = None
) -> None:
    """Write a run's config.json and its card.

    Raises: UserError if it cannot be written.
    """
    if jax.process_index() > 0:
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        storage.write_json(workdir / CONFIG, config)
        if card is not None:
            cards.write(workdir, card)
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
    arguments = _list_all_arguments(new)
    changed = [
        sentence
        for key, sentence in _list_changes(old, new).items()
        if key not in LENGTH and not _is_free(key, arguments, new)
    ]
    if changed:
        raise UserError(
            f"{workdir} holds a run of another configuration ({'; '.join(changed)}); "
            "name another --workdir, or delete it"
        )


def changed_free_data_keys(old: Config, new: Config) -> list[str]:
    """Return "data.split_seed 0 -> 1" for each free key of the data that changed.

    For the sentence to tell when what is in the data has changed as well.
    """
    arguments = _list_all_arguments(new)
    return [
        sentence
        for key, sentence in _list_changes(old, new).items()
        if key.startswith("data.") and _is_free(key, arguments, new)
    ]


def changed_starting_keys(old: Config, new: Config) -> list[str]:
    """Return the keys that changed and that a run reads at its start alone."""
    arguments = _list_all_arguments(new)
    return [
        key
        for key in _list_changes(old, new)
        if key in arguments and arguments[key].read_at_start
    ]


def _list_changes(old: Config, new: Config) -> dict[str, str]:
    """Return a sentence for each key that changed: "seed 0 -> 1"."""
    defaults = dataclasses.asdict(Settings())
    for section in ("model", "data"):
        del defaults[section]
    # A run of an older version lacks settings that have come since.
    before, after = (_flat(defaults) | _flat(each) for each in (old, new))
    return {
        key: f"{key} {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def _list_all_arguments(config: Config) -> dict[str, Argument]:
    """Return every setting of a configuration, and every argument of its source."""
    arguments = list_arguments()
    source = config.get("data", {}).get("source")
    if source in data.names():
        own = data.arguments(source)
        arguments |= {f"data.{name}": argument for name, argument in own.items()}
    return arguments


def _is_free(key: str, arguments: Mapping[str, Argument], config: Config) -> bool:
    """Return whether a key may change when a run goes on.

    None of these alters the parameters (`fsdp` does by rounding, as another number of
    devices does).
    """
    # The longest: `data` is a setting, data.directory one of its source's.
    names = [name for name in arguments if key == name or key.startswith(f"{name}.")]
    if not names:
        return False
    argument = arguments[max(names, key=len)]
    return argument.free or argument.read_at_start or argument.is_unread(_flat(config))


def _flat(config: Config, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
