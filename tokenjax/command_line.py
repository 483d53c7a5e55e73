"""What the entry points share: flags, clean errors, quiet libraries, compilation cache.

A `UserError`, a bad flag or a bad configuration ends the program with one line on
stderr and exit status 2. Any other exception is a bug and keeps its traceback.
"""

import logging as python_logging
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from absl import app, flags, logging

from tokenjax import disk_errors
from tokenjax.config_files import BadConfigError, ConfigFileParser
from tokenjax.errors import UserError
from tokenjax.plain_values import check_plain

# Huge pages; one heap, that threads share and that keeps what is freed (up to 1 TiB):
# large blocks of another thread would be mapped apart, whatever mmap_max says.
ALLOCATOR = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.arena_max=1:"
    "glibc.malloc.trim_threshold=1099511627776"
)


def run(main: Callable[[list[str]], None]) -> None:
    """Parses the flags and calls `main` with what is left of argv."""
    _tune_allocator()
    # Before TensorFlow or jax start. Their notes on oneDNN and absent TPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    logging.get_absl_handler().addFilter(_Quiet())
    sys.unraisablehook = _without_closed_loops
    app.run(lambda argv: _guard(main, argv), flags_parser=_parse_flags)


def _tune_allocator() -> None:
    """Starts this program again with glibc's allocator on huge pages that it keeps.

    Each step on CPU allocates its hundreds of megabytes anew, and each product its
    packed operands. Faulting them in by pages of 4 KiB took a third of a training step
    (docs/results.md), by pages of 2 MiB still a tenth of an inference and, after other
    programs had their turn, a third of a step (docs/benchmarks.md). glibc reads the
    settings at the start of a process alone. A user's own GLIBC_TUNABLES are kept.
    """
    if not sys.platform.startswith("linux") or "GLIBC_TUNABLES" in os.environ:
        return
    os.environ["GLIBC_TUNABLES"] = ALLOCATOR
    sys.stdout.flush()
    os.execv(sys.executable, sys.orig_argv)


def enable_compilation_cache() -> None:
    """Keeps compiled programs over runs, in JAX_COMPILATION_CACHE_DIR or ~/.cache."""
    import jax

    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        cache = pathlib.Path(base) / "tokenjax" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def config_path(config_flag: flags.FlagHolder) -> str:
    """configs/vdpa.py:fashion_mnist, as it was given."""
    flag: Any = flags.FLAGS[config_flag.name]
    return flag.config_filename


def config_name_and_variant(config_flag: flags.FlagHolder) -> tuple[str, str]:
    """("vdpa", "fashion_mnist") of --config configs/vdpa.py:fashion_mnist."""
    path, _, variant = config_path(config_flag).partition(":")
    return pathlib.Path(path).stem, variant or "default"


def print_summary(headline: list[str], split: str, workdir: pathlib.Path) -> None:
    """Print what a user wants to know first of an evaluation, and where the rest is."""
    import jax

    if jax.process_index() > 0:  # one of several says it
        return
    print("\n".join(headline))
    suffix = "" if split == "test" else f"-{split}"
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


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        return parse(flags.FLAGS, argv)
    except UserError as error:
        fail(str(error))


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
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return re.sub(r"^(FATAL )?([\w.]*Error: )?", "", lines[0] if lines else message)
