"""Run a command as its program: flags, clean errors, quiet libraries.

A `UserError`, a bad flag or a bad configuration ends the program with one line on
stderr and exit status 2. Any other exception is a bug and keeps its traceback.
"""

import contextlib
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

from tokenjax import allocator, command_help, commands, disk_errors, plugins
from tokenjax.config_files import BadConfigError, ConfigFileParser
from tokenjax.errors import UserError
from tokenjax.plain_values import check_plain


def run(name: str, argv: Sequence[str] | None = None) -> None:
    """Run the command of that name in this process, which it makes its own.

    Args:
      name: one of `commands.names()`.
      argv: the program and the command's flags; this process's own if None.

    Raises: SystemExit with status 2 after a user's mistake, or with the command's own.
    """
    arguments = list(sys.argv if argv is None else argv)
    # Before TensorFlow or jax start. Their notes on oneDNN and absent TPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if not command_help.is_asked_for(arguments):
        allocator.start_again()
        logging.use_absl_handler()
        logging.get_absl_handler().addFilter(_QUIET)
        if flags.FLAGS["verbosity"].using_default_value:
            logging.set_verbosity(logging.INFO)
        sys.unraisablehook = _without_closed_loops
        with contextlib.suppress(Exception):  # a notebook's stderr is no file
            faulthandler.enable()
    run_here(commands.load(name), arguments)


def run_here(command: commands.Command, argv: Sequence[str]) -> None:
    """Run a command and leave this process's settings as they are.

    Raises: SystemExit, see `run`.
    """
    if command_help.is_asked_for(argv):
        print(command_help.describe(command, argv))
        return
    _guard(lambda argv: execute(command, argv, flags.FlagValues()), list(argv))


def execute(
    command: commands.Command, argv: Sequence[str], values: flags.FlagValues
) -> None:
    """Parse the flags into `values`, which holds none yet, and do the command.

    Plugins and --import come first: what they add is known when flags are checked.

    Raises: UserError.
    """
    plugins.load_installed()
    plugins.import_modules(plugins.named_in(argv))
    command.define_flags(argv, values)
    plugins.define_flag(values)
    _add_library_flags(values)
    rest = parse(values, list(argv))
    if len(rest) > 1:
        raise UserError(f"unexpected argument {rest[1]!r}: every option is a flag")
    allocator.say_if_started_again()
    command.main(argv, values)


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
) -> None:
    """Define --config, which must be given, and a flag for each key set in `argv`."""
    config_flags.DEFINE_config_file(
        "config", None, meaning, values, sys_argv=list(argv)
    )
    flags.mark_flag_as_required("config", values)


def define_workdir(
    values: flags.FlagValues, default: str = "runs/<config name>-<variant>"
) -> None:
    """Define --workdir; the default is the command's to find."""
    flags.DEFINE_string("workdir", "", f"default: {default}", flag_values=values)


def define_jobs(values: flags.FlagValues, jobs: int) -> None:
    """Define what commands of many runs share: --jobs, and --run for one of them."""
    text = "runs at a time, each on its share of the cores"
    flags.DEFINE_integer("jobs", jobs, text, flag_values=values)
    text = "one run alone, by name (what --jobs start)"
    flags.DEFINE_string("run", "", text, flag_values=values)


def enable_compilation_cache() -> None:
    """Keep compiled programs over runs, in JAX_COMPILATION_CACHE_DIR or ~/.cache."""
    import jax

    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        base = os.environ.get("XDG_CACHE_HOME")
        try:
            cache = pathlib.Path(base or pathlib.Path.home() / ".cache")
        except RuntimeError:  # a user without a home, as in a container
            return
        cache = cache / "tokenjax" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def config_name_and_variant(values: flags.FlagValues) -> tuple[str, str]:
    """Return ("vdpa", "fashion_mnist") of --config configs/vdpa.py:fashion_mnist."""
    flag: Any = values["config"]
    path, _, variant = flag.config_filename.partition(":")
    return pathlib.Path(path).stem, variant or "default"


def print_summary(summary: dict[str, Any], workdir: pathlib.Path) -> None:
    """What a user wants to know first of an evaluation, and where the rest is."""
    import jax

    if jax.process_index() > 0:  # one of several says it
        return
    if "mAP" in summary:
        _print_retrieval(summary)
    else:
        print(
            f"{summary['split']}: top-1 {summary['top1']:.2%}, "
            f"top-5 {summary['top5']:.2%}, "
            f"loss {summary['loss']:.4f} on {summary['examples']} images"
        )
    if "shots" in summary:
        macro, weighted = summary["macro"], summary["weighted"]
        print(f"macro F1 {macro['f1']:.2%}, weighted F1 {weighted['f1']:.2%}")
        groups = {k: v for k, v in summary["shots"].items() if v["classes"]}
        print(
            "; ".join(
                f"{name}-shot {group['accuracy']:.2%} ({group['classes']} classes)"
                for name, group in groups.items()
            )
        )
    if "routing" in summary:
        routing = summary["routing"]
        recall = routing.get("target_recall")
        print(
            f"{routing['ratio']:.1%} of the patches to the big network, "
            f"{routing['mflops']:.2f} MFLOPs per image"
            + ("" if recall is None else f"; {recall:.1%} of the target's patches")
        )
    if "teacher_top1" in summary:
        print(f"its teacher, which keeps every token: {summary['teacher_top1']:.2%}")
    suffix = "" if summary["split"] == "test" else f"-{summary['split']}"
    figures = workdir / f"figures{suffix}"
    drawn = f" and {figures}" if figures.is_dir() else ""
    print(f"{workdir}/evaluation{suffix}.json{drawn}: the rest")


def _print_retrieval(summary: dict[str, Any]) -> None:
    """By each feature, and without some modalities."""
    chance = summary["chance"]
    print(
        f"{summary['split']}: {summary['valid_queries']} queries, "
        f"{summary['gallery']} in the gallery; a random ranking would reach "
        f"mAP {chance['mAP']:.2%}, rank-1 {chance['rank1']:.2%}"
    )
    rows = dict(summary["features"])
    if "reranked" in summary:
        rows["re-ranked"] = summary["reranked"]
    for name, row in rows.items():
        ranks = ", ".join(
            f"rank-{rank} {row[f'rank{rank}']:.2%}"
            for rank in (1, 5, 10)
            if row[f"rank{rank}"] is not None
        )
        print(f"{name:>10}: mAP {row['mAP']:.2%}, {ranks}, mINP {row['mINP']:.2%}")
    for name, row in summary.get("conditions", {}).items():
        label = name.replace("_", " ")
        print(f"{label:>16}: mAP {row['mAP']:.2%}, rank-1 {row['rank1']:.2%}")


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
    """Prints what no caller can catch, but for the echo of a save that failed.

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
    """One line on stderr, exit status 2."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(2)


def parse(values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Sets the flags, reads the configuration that they name, and checks its values.

    Returns: what is left of argv.

    Raises: UserError.
    """
    configs: list[Any] = [
        values[name]
        for name in values
        if hasattr(type(values[name]), "override_values")
    ]
    for flag in configs:
        flag.parser = ConfigFileParser()
    try:
        rest = values(argv)
        for flag in configs:
            check_plain(flag.value.to_dict() if flag.value is not None else {})
        return rest
    except UserError:
        raise
    except BadConfigError as error:
        raise UserError(str(error)) from error
    except flags.Error as error:
        raise UserError(_without_class(str(error))) from error
    except (AttributeError, KeyError) as error:  # of ml_collections: no such key
        raise UserError(f"--config: {_unknown_key(error)}") from error
    except Exception as error:  # its parsers raise whatever the text led to
        raise UserError(f"--config: {_without_class(str(error))}") from error


def _unknown_key(error: Exception) -> str:
    """ml_collections says: 'dpth'\\nDid you mean "depth" instead of "dpth"?"""
    name = re.search(r"\w[\w.]*", str(error).replace("\\n", "\n"))
    nearest = re.search(r'Did you mean "([^"]+)"', str(error))
    hint = f", did you mean {nearest[1]!r}?" if nearest else ""
    return f"no configuration key {name[0]!r}{hint}" if name else str(error)


def _without_class(message: str) -> str:
    """The line that says what is wrong, without an exception's class in front."""
    missing = re.fullmatch(
        r"flag --(\w+)=None: Flag --\w+ must have a value .*", message
    )
    if missing:
        return f"--{missing[1]} must be given"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return re.sub(r"^(FATAL )?([\w.]*Error: )?", "", lines[0] if lines else message)
