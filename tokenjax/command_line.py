"""Run a command as its program: flags, clean errors, quiet libraries.

A `UserError`, a bad flag or a bad configuration ends the program with one line on
stderr and exit status 2. Any other exception is a bug and keeps its traceback.
"""

import contextlib
import difflib
import faulthandler
import logging as python_logging
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import flags, logging
from ml_collections import config_flags

from tokenjax import (
    allocator,
    caches,
    command_files,
    command_help,
    disk_errors,
    path_flags,
    plugins,
)
from tokenjax.config_files import ConfigFileParser, list_keys, missing_config
from tokenjax.errors import BadFlagError, UserError
from tokenjax.plain_values import check_plain

NAMES = {"model": "name", "data": "source"}  # the key that says whose section it is


def run(name: str, argv: Sequence[str] | None = None) -> None:
    """Run the command of that name in this process, which it makes its own.

    Args:
      name: one of `command_files.names()`.
      argv: the program and the command's flags; this process's own if None.

    Raises: SystemExit with status 2 after a user's mistake, or with the command's own.
    """
    arguments = list(sys.argv if argv is None else argv)
    # Before TensorFlow or jax start. Their notes on oneDNN and absent TPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a notebook's is another thing
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    caches.settle()
    command = command_files.load(name)
    if not command_help.is_asked_for(arguments):
        if command_files.computes(command):
            allocator.start_again()
        logging.use_absl_handler()
        logging.get_absl_handler().addFilter(_QUIET)
        if flags.FLAGS["verbosity"].using_default_value:
            logging.set_verbosity(logging.INFO)
        sys.unraisablehook = _without_closed_loops
        with contextlib.suppress(Exception):  # a notebook's stderr is no file
            faulthandler.enable()
    run_here(command, arguments)


def run_here(command: command_files.Command, argv: Sequence[str]) -> None:
    """Run a command and leave this process's settings as they are.

    Raises: SystemExit, see `run`.
    """
    if command_help.is_asked_for(argv):
        print(command_help.describe(command, argv))
        return
    _guard(lambda argv: execute(command, argv, flags.FlagValues()), list(argv))


def execute(
    command: command_files.Command, argv: Sequence[str], values: flags.FlagValues
) -> None:
    """Parse the flags into `values`, which holds none yet, and do the command.

    Plugins and --import come first: what they add is known when flags are checked.

    Raises: UserError.
    """
    plugins.load_installed()
    plugins.import_modules(plugins.named_in(argv))
    argv = command_files.complete(command, argv)
    command.define_flags(argv, values)
    plugins.define_flag(values)
    _add_library_flags(values)
    takes_more = bool(command_files.arguments(command))
    values.set_gnu_getopt(takes_more)  # flags may follow what is none
    rest = parse(values, list(argv))
    if len(rest) > 1 and not takes_more:
        raise UserError(f"unexpected argument {rest[1]!r}: every option is a flag")
    if not command_files.is_brief(command):
        allocator.say_if_started_again()
    command.main(rest if takes_more else argv, values)


def _add_library_flags(values: flags.FlagValues) -> None:
    """Add what absl and the modules imported so far have defined, --verbosity first."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if name == flag.name and name not in values:
            values[name] = flag
    flags.FLAGS.mark_as_parsed()


def define_config(
    argv: Sequence[str],
    values: flags.FlagValues,
    meaning: str = "configs/NAME.py[:variant]; --config.KEY=VALUE sets a key of it",
    required: bool = True,
) -> None:
    """Define --config, and a flag for each key set in `argv`."""
    config_flags.DEFINE_config_file(
        "config", None, meaning, values, sys_argv=list(argv)
    )
    if required:
        flags.mark_flag_as_required("config", values)


def config_of_directory(argv: Sequence[str], *names: str) -> list[str]:
    """Return the command line; where it has no --config, with one of a directory.

    A run and a converted checkpoint know their configuration: `names` are the flags
    that may name one, the first that is given counts.
    """
    if any(re.fullmatch(r"--?config(=.*)?", word, re.DOTALL) for word in argv):
        return list(argv)
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    for name in names:
        flags.DEFINE_string(name, "", "", flag_values=values)
    with contextlib.suppress(flags.Error):  # said when all flags are parsed
        values(list(argv), known_only=True)
        found = [values[name].value for name in names if values[name].value]
        if found:
            return [argv[0], f"--config={found[0]}", *argv[1:]]
    return list(argv)


def define_workdir(values: flags.FlagValues) -> None:
    """Define --workdir; the default is the command's to find."""
    meaning = "default: runs/<config name>-<variant>"
    path_flags.define("workdir", "", meaning, values)


def enable_compilation_cache() -> None:
    """Keep compiled programs over runs, in JAX_COMPILATION_CACHE_DIR or ~/.cache."""
    import jax

    given = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    cache = caches.find_compilation_cache(given)
    jax.config.update("jax_compilation_cache_dir", cache)
    for name, value in caches.settings(own=not given).items():
        jax.config.update(name, value)


def config_name_and_variant(values: flags.FlagValues) -> tuple[str, str]:
    """Return ("vdpa", "fashion_mnist") of --config configs/vdpa.py:fashion_mnist."""
    flag: Any = values["config"]
    path, _, variant = flag.config_filename.partition(":")
    return pathlib.Path(path).stem, variant or "default"


def print_summary(
    headline: list[str], split: str, workdir: pathlib.Path, of: str = ""
) -> None:
    """Print what a user wants to know first of an evaluation, and where the rest is."""
    import jax

    if jax.process_index() > 0:  # one of several says it
        return
    print("\n".join(headline))
    from tokenjax.training.evaluate import report_suffix

    suffix = report_suffix(split, of)
    figures = workdir / f"figures{suffix}"
    drawn = f" and {figures}" if figures.is_dir() else ""
    print(f"{workdir}/evaluation{suffix}.json{drawn}: the rest")


class _Quiet(python_logging.Filter):
    """Keeps our own lines; of orbax and jax only errors."""

    def filter(self, record: python_logging.LogRecord) -> bool:
        libraries = ("/orbax/", "/jax/", "/asyncio/", "/clu/asynclib.py")
        library = any(name in record.pathname for name in libraries)
        # What has a traceback is raised as well, and told where it is caught.
        told = record.levelno < python_logging.ERROR or bool(record.exc_info)
        return not (library and told)


_QUIET = _Quiet()


def _without_closed_loops(unraisable: Any) -> None:
    """Print what no caller can catch, but for the echo of a save that failed.

    tensorstore's threads call back into an event loop that Orbax has closed when it
    raised the failure itself.
    """
    error = unraisable.exc_value
    if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
        sys.__unraisablehook__(unraisable)


def _guard(main: Callable[[list[str]], None], argv: list[str]) -> None:
    try:
        with disk_errors.said():
            main(argv)
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:  # as in `tokenjax settings | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # numpy's and the device's have no class in common
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(
            error
        ):
            raise
        fail(
            f"out of memory ({str(error).strip().partition(chr(10))[0]}): lower "
            "batch_size, the images' size, data.cache_bytes or the model's size"
        )


def fail(message: str) -> NoReturn:
    """Print one line on stderr, and exit with status 2."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(2)


def parse(values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Set the flags, read the configuration that they name, and check its values.

    Returns: what is left of argv.

    Raises: UserError.
    """
    configs: list[Any] = [
        values[name]
        for name in values
        if hasattr(type(values[name]), "override_values")
    ]
    given = {flag.name: _overrides(flag.name, argv) for flag in configs}
    for flag in configs:
        flag.parser = ConfigFileParser(given[flag.name])
    try:
        rest = values(argv)
        for flag in configs:
            check_plain(flag.value.to_dict() if flag.value is not None else {})
        return rest
    except UserError:
        raise
    except BadFlagError as error:
        raise UserError(str(error)) from error
    except flags.UnrecognizedFlagError as error:
        nearest = difflib.get_close_matches(error.flagname, list(values), n=1)
        hint = f", did you mean --{nearest[0]}?" if nearest else ";"
        raise UserError(f"unknown flag --{error.flagname}{hint} see --help") from error
    except flags.Error as error:
        raise UserError(_without_class(str(error))) from error
    except (AttributeError, KeyError) as error:  # of ml_collections: no such key
        keys = {key: flag.parser.config for flag in configs for key in given[flag.name]}
        raise UserError(f"--config: {_unknown_key(error, keys)}") from error
    except Exception as error:  # its parsers raise whatever the text led to
        raise UserError(f"--config: {_without_class(str(error))}") from error


def _overrides(flag: str, argv: list[str]) -> dict[str, str]:
    """Return {"model.depth": "3"} of --config.model.depth=3 or --config.model.depth 3.

    A key that stands last and alone has the value "".
    """
    pattern = re.compile(rf"--?(?:no)?{re.escape(flag)}\.([^=]+)(?:=(.*))?", re.DOTALL)
    found = {}
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        match = pattern.fullmatch(word)
        if match:
            found[match[1]] = following if match[2] is None else match[2]
    return found


def _unknown_key(error: Exception, given: dict[str, Any]) -> str:
    """Return the sentence for the first key that its configuration has not.

    The nearest is looked for among whole keys, and first by its last part: who asks
    for learning_rate means optimizer.learning_rate.
    """
    for key, config in given.items():
        known = list_keys(config)
        if key in known:
            continue
        section, _, last = key.rpartition(".")
        same = [each for each in known if each.rpartition(".")[2] == last]
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
        if same and not section:
            nearest = same
        hint = f", did you mean {nearest[0]!r}?" if nearest else "."
        whose = ""
        if section in NAMES and section in known:
            name = NAMES[section]
            whose = f" ({section}.{name} is {config[section].get(name)!r})"
        return (
            f"no configuration key {key!r}{whose}{hint} `python -m tokenjax settings` "
            "lists them all"
        )
    return str(error)


def _without_class(message: str) -> str:
    """The line that says what is wrong, without an exception's class in front."""
    missing = re.findall(r"flag --(\w+)=None: Flag --\1 must have a value ", message)
    if "config" in missing:
        return missing_config()
    if missing:
        return f"{' and '.join(f'--{name}' for name in missing)} must be given"
    boolean = r"\('Non-boolean argument to boolean flag', (.*)\)"
    message = re.sub(boolean, r"must be True or False, got \1", message)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return re.sub(r"^(FATAL )?([\w.]*Error: )?", "", lines[0] if lines else message)
