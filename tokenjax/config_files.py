"""Reads the configuration file that --config names; whatever is wrong is one sentence.

ml_collections' own parser lets an ImportError through with a traceback, takes an
AttributeError of the file for an unknown key, and puts off a failure to open until the
configuration is used. A file is a program and may fail in any way; what it raises is
told with the line that raised it.
"""

import pathlib
import sys
import traceback
import types
from collections.abc import Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from tokenjax.configuration import complete
from tokenjax.errors import UserError, shown

_MODULE = "tokenjax_config"  # its name while it runs: dataclasses look it up


class BadConfigError(Exception):
    """Carries a sentence through absl, which wraps every ValueError in its own."""


class ConfigFileParser(flags.ArgumentParser):
    """The parser of a flag that `config_flags.DEFINE_config_file` has defined.

    `chosen` are names of a model and a source that the command line puts in place of
    the file's: see `tokenjax.configuration.complete`. `config` is what was parsed.
    """

    def __init__(self, chosen: Mapping[str, str]):
        self._chosen = chosen
        self.config = ConfigDict()

    def parse(self, path: str) -> ConfigDict:
        """Raises: BadConfigError."""
        try:
            config = load_config(path)
            complete(config, self._chosen)
        except UserError as error:
            raise BadConfigError(str(error)) from error
        config.lock()
        self.config = config
        return config

    def flag_type(self) -> str:
        return "config object"


def load_config(path_and_variant: str) -> ConfigDict:
    """What get_config() of "configs/vdpa.py:paper" returns.

    Raises: UserError.
    """
    name, separator, variant = path_and_variant.partition(":")
    path = pathlib.Path(name)
    if not name or not path.is_file():
        if name and path.is_dir():
            raise UserError(f"--config: {shown(name)} is a directory, not a file")
        raise UserError(f"--config: no file {shown(name)}")
    try:
        config = _run(path, [variant] if separator else [])
    except UserError as error:  # select_variant's, of an unknown one
        raise UserError(f"--config: {shown(name)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"--config: {shown(name)}: {_told(error, name)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"--config: {shown(name)}: get_config returned {type(config).__name__}, "
            "where an ml_collections.ConfigDict is due"
        )
    return config


def _run(path: pathlib.Path, variant: list[str]) -> Any:
    module = types.ModuleType(_MODULE)
    module.__file__ = str(path)
    code = compile(path.read_bytes(), str(path), "exec")
    sys.modules[_MODULE] = module
    exec(code, module.__dict__)
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise UserError("it has no function get_config")
    return get_config(*variant)


def _told(error: BaseException, name: str) -> str:
    """The error's kind and first line, and the last line of the file on its way."""
    message = str(error).strip().partition("\n")[0]
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == name
    ]
    if isinstance(error, SyntaxError):
        message, lines = error.msg, [error.lineno]
    where = f" (line {lines[-1]})" if lines and lines[-1] else ""
    return f"{type(error).__name__}: {shown(message)}{where}"


def list_keys(config: ConfigDict, prefix: str = "") -> list[str]:
    """Return every key of a configuration, sections and what is in them."""
    found = []
    for key in config:
        found.append(f"{prefix}{key}")
        value = config[key]
        if isinstance(value, ConfigDict):
            found += list_keys(value, f"{prefix}{key}.")
    return found
