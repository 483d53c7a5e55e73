"""Reads the configuration file that --config names; whatever is wrong is one sentence.

ml_collections' own parser lets an ImportError through with a traceback, takes an
AttributeError of the file for an unknown key, and puts off a failure to open until the
configuration is used. A file is a program and may fail in any way; what it raises is
told with the line that raised it.
"""

import contextlib
import pathlib
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from tokenjax import user_code
from tokenjax.errors import BadFlagError, UserError, shown

# Ours: in a wheel within the package, in a checkout beside it.
SHIPPED = tuple(pathlib.Path(__file__).parents[n] / "configs" for n in (0, 1))
_MODULE = "tokenjax_config"  # its name while it runs: dataclasses look it up


class ConfigFileParser(flags.ArgumentParser):
    """The parser of a flag that `config_flags.DEFINE_config_file` has defined.

    `chosen` are names of a model and a source that the command line puts in place of
    the file's: see `tokenjax.configuration.complete`. `config` is what was parsed.
    """

    def __init__(self, chosen: Mapping[str, str]):
        self._chosen = chosen
        self.config = ConfigDict()

    def parse(self, path: str) -> ConfigDict:
        """Read the file, complete the configuration and lock it.

        Raises: BadFlagError.
        """
        from tokenjax.configuration import complete  # jax, which has yet to start

        try:
            config = load_config(path)
            complete(config, self._chosen)
        except UserError as error:
            raise BadFlagError(str(error)) from error
        config.lock()
        self.config = config
        return config

    def flag_type(self) -> str:
        return "config object"


def load_config(path_and_variant: str) -> ConfigDict:
    """Return what get_config() of "configs/vdpa.py:paper" does.

    Of a run's directory, or a converted checkpoint's, its own.

    Raises: UserError.
    """
    if path_and_variant and pathlib.Path(path_and_variant).is_dir():
        from tokenjax.configuration import read_directory

        return read_directory(pathlib.Path(path_and_variant))
    name, separator, variant = path_and_variant.partition(":")
    path = _find(name)
    if not name or not path.is_file():
        raise UserError(f"--config: no file {shown(name)}")
    try:
        config = _run(path, [variant] if separator else [])
    except UserError as error:  # select_variant's, of an unknown one
        raise UserError(f"--config: {shown(name)}: {error}") from error
    except (Exception, SystemExit) as error:
        reason = user_code.told(error, str(path))
        raise UserError(f"--config: {shown(name)}: {reason}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"--config: {shown(name)}: get_config returned {type(config).__name__}, "
            "where an ml_collections.ConfigDict is due"
        )
    return config


def names() -> list[str]:
    """Return the names of our own configurations, sorted."""
    folder = next((each for each in SHIPPED if each.is_dir()), None)
    return sorted(path.stem for path in folder.glob("*.py")) if folder else []


def missing_config() -> str:
    """Return the sentence for a command that was not given its --config."""
    return (
        "--config must be given: a file of your own, or one of ours "
        f"({', '.join(names())}); NAME:VARIANT chooses of its variants"
    )


def _find(name: str) -> pathlib.Path:
    """Return the file of that path or, where there is none, ours of that name.

    "configs/vdpa.py" and "vdpa" are ours wherever the program is started.
    """
    path = pathlib.Path(name)
    by_path = path.parent == pathlib.Path("configs") and path.suffix == ".py"
    if path.exists() or not (by_path or name.isidentifier()):
        return path
    candidates = [folder / f"{path.stem}.py" for folder in SHIPPED]
    return next((each for each in candidates if each.is_file()), path)


@contextlib.contextmanager
def _importing_from(module: types.ModuleType, folder: pathlib.Path) -> Iterator[None]:
    """Let a file `import mine`, or `from . import mine`, what lies beside it."""
    module.__package__, module.__path__ = _MODULE, [str(folder)]
    for name in [name for name in sys.modules if name.startswith(f"{_MODULE}.")]:
        del sys.modules[name]  # of a file in another folder, or as it was before
    sys.modules[_MODULE] = module
    with user_code.searched_first(folder):
        yield


def _run(path: pathlib.Path, variant: list[str]) -> Any:
    module = types.ModuleType(_MODULE)
    module.__file__ = str(path)
    code = compile(path.read_bytes(), str(path), "exec")
    with _importing_from(module, path.parent):
        exec(code, module.__dict__)
        get_config = getattr(module, "get_config", None)
        if not callable(get_config):
            raise UserError("it has no function get_config")
        return get_config(*variant)


def list_keys(config: ConfigDict, prefix: str = "") -> list[str]:
    """Return every key of a configuration, sections and what is in them."""
    found = []
    for key in config:
        found.append(f"{prefix}{key}")
        value = config[key]
        if isinstance(value, ConfigDict):
            found += list_keys(value, f"{prefix}{key}.")
    return found
