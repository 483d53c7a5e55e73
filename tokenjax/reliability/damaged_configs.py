"""Configurations for `fuzz`: files and flags with errors, read as train.py reads them.

A seed writes a configuration file for a tiny model and a folder of six images, adds
flags, and takes both as far as the first step: flags, settings, data, model, the shapes
of its variables, the update rule. What must hold:
- a whole file with allowed values is read, and every setting is the one given;
- an unknown key, a value out of range or of another type, and a file that is none are
  refused;
- whatever random bytes or absurd values make of it, the answer is a sentence or a run
  whose settings are the ones given.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from tokenjax import command_line, experiment
from tokenjax.errors import UserError
from tokenjax.reliability import damage
from tokenjax.reliability.config_cases import (
    ABSURD,
    ALLOWED,
    FILES,
    TEMPLATE,
    UNKNOWN,
    WRONG,
)
from tokenjax.training.settings import Settings

Random = np.random.Generator
Given = dict[str, Any]  # key -> the value that the settings must have
Case = tuple[list[str], Given | None, bool]  # flags, what is due, must it be refused


def run(seed: int, directory: pathlib.Path) -> str:
    """Read one configuration as the seed makes it.

    See `tokenjax.reliability.fuzz`.
    """
    random = np.random.default_rng(seed)
    path = directory / "config.py"
    path.write_text(TEMPLATE % str(_images(directory)))
    kind = list(KINDS)[random.integers(len(KINDS))]
    arguments, given, must_refuse = KINDS[kind](path, random)
    try:
        settings = _build(["train.py", *arguments])
    except UserError as error:
        text = str(error)
        if given is not None:
            raise AssertionError(f"{kind} refused: {text}; {arguments}") from error
        if "\n" in text or not text:
            raise AssertionError(f"{kind}: more than a line: {text!r}") from error
        return f"refused: {kind}: {text}"
    if must_refuse:
        raise AssertionError(f"{kind} was taken: {arguments}")
    for key, value in (given or {}).items():
        found = _setting(settings, key)
        if found != value or isinstance(found, bool) is not isinstance(value, bool):
            raise AssertionError(f"{kind}: {key} is {found!r}, given was {value!r}")
    return f"handled: {kind}"


def _images(directory: pathlib.Path) -> pathlib.Path:
    """Write three images in each of two classes; return their folder."""
    from PIL import Image

    root = directory / "images"
    for number in range(6):
        path = root / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    return root


def _build(argv: list[str]) -> Settings:
    """Build as train.py does, as far as the first step; return the settings."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", values, sys_argv=argv)
    flags.mark_flag_as_required("config", values)
    command_line.parse(values, argv)
    built = experiment.build(values["config"].value)
    built.settings.total_steps(len(built.dataset.train))
    built.task.optimizer()
    built.dataset.train.gather(np.arange(1))
    # Traces the model: much of what is wrong with its sizes is met here.
    jax.eval_shape(built.task.init, jax.random.key(built.settings.seed))
    return built.settings


def _setting(settings: Settings, key: str) -> object:
    value: object = settings
    for part in key.split("."):
        found = value[part] if isinstance(value, dict) else None
        value = getattr(value, part, None) if found is None else found
    return value


def _flag(key: str, value: object) -> str:
    return f"--config.{key}={value}"


def _choose(table: dict[str, tuple], random: Random) -> tuple[str, Any]:
    key = list(table)[random.integers(len(table))]
    return key, table[key][random.integers(len(table[key]))]


def _allowed(path: pathlib.Path, random: Random) -> Case:
    given = dict(_choose(ALLOWED, random) for _ in range(int(random.integers(4))))
    if given.get("schedule.warmup_epochs") == 1e9:
        given["epochs"] = 1e6  # the warm-up is longer, which is allowed
    if "data.image_size" in given:
        given |= {"model.patch_size": 4}
    return [_config(path), *(_flag(k, v) for k, v in given.items())], given, False


def _wrong_flag(path: pathlib.Path, random: Random) -> Case:
    key, value = _choose(WRONG, random)
    return [_config(path), _flag(key, value)], None, True


def _wrong_in_file(path: pathlib.Path, random: Random) -> Case:
    key, value = _choose(WRONG, random)
    _set_in_file(path, key, value)
    return [_config(path)], None, True


def _absurd_flag(path: pathlib.Path, random: Random) -> Case:
    key = _any_key(random)
    return (
        [_config(path), _flag(key, ABSURD[random.integers(len(ABSURD))])],
        None,
        False,
    )


def _absurd_in_file(path: pathlib.Path, random: Random) -> Case:
    _set_in_file(path, _any_key(random), ABSURD[random.integers(len(ABSURD))])
    return [_config(path)], None, False


def _unknown_key(path: pathlib.Path, random: Random) -> Case:
    key = UNKNOWN[random.integers(len(UNKNOWN))]
    if random.integers(2):
        return [_config(path), _flag(key, 3)], None, True
    _set_in_file(path, key, 3)
    return [_config(path)], None, True


def _bad_file(path: pathlib.Path, random: Random) -> Case:
    names = list(FILES)
    path.write_text(FILES[names[random.integers(len(names))]])
    return [_config(path)], None, True


def _binary_file(path: pathlib.Path, random: Random) -> Case:
    path.write_bytes(random.bytes(int(random.integers(1, 500))))
    return [_config(path)], None, True


def _damaged_file(path: pathlib.Path, random: Random) -> Case:
    path.write_bytes(damage.damaged(path.read_bytes(), random))
    return [_config(path)], None, False


def _no_file(path: pathlib.Path, random: Random) -> Case:
    name = ("nothing.py", ".", "x/config.py", "", "config.py/x", "a\0b", "\n")[
        random.integers(7)
    ]
    if random.integers(4) == 0:
        return (
            [f"--config={path}:{('papr', '', 'a:b', '-')[random.integers(4)]}"],
            None,
            True,
        )
    return [f"--config={path.parent}/{name}"], None, True


def _no_flags(path: pathlib.Path, random: Random) -> Case:
    many: list[list[str]] = []
    many += (["--config.epochs=3"], [], ["--confg=3"], ["--config"])
    many += (["--config.epochs=3", _config(path)], [_config(path), "--config.model"])
    many += ([_config(path), "--config."], [_config(path), "--config.model.depth[0]=3"])
    many += ([_config(path), "--config.model.depth", "--config.optimizer.x"],)
    return many[random.integers(len(many))], None, True


def _config(path: pathlib.Path) -> str:
    return f"--config={path}"


def _set_in_file(path: pathlib.Path, key: str, value: object) -> None:
    """Set a key in the file as a user might: by the ConfigDict's checks or around."""
    section = "config" + "".join(f".{part}" for part in key.split(".")[:-1])
    name = key.rpartition(".")[2]
    text = repr(value).replace("nan", "float('nan')").replace("inf", "float('inf')")
    line = "    with config.unlocked(), config.ignore_type():\n"
    line += f"        {section}[{name!r}] = {text}\n    return config\n\n\ndef long"
    content = path.read_text().replace("    return config\n\n\ndef long", line)
    path.write_text(content)


def _any_key(random: Random) -> str:
    """Draw any setting but those that would look for other processes."""
    from tokenjax.training import default_config

    keys = [*ALLOWED, *WRONG]
    for key, value in default_config().items():
        if key in ("distributed", "cluster", "ablation", "compare", "model", "data"):
            continue
        inner = [f"{key}.{name}" for name in value] if hasattr(value, "items") else []
        keys += inner or [key]
    return keys[random.integers(len(keys))]


KINDS: dict[str, Callable[[pathlib.Path, Random], Case]] = {
    "allowed": _allowed,
    "wrong flag": _wrong_flag,
    "wrong in the file": _wrong_in_file,
    "absurd flag": _absurd_flag,
    "absurd in the file": _absurd_in_file,
    "unknown key": _unknown_key,
    "bad file": _bad_file,
    "binary file": _binary_file,
    "damaged file": _damaged_file,
    "no file": _no_file,
    "no flags": _no_flags,
}
