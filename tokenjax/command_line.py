"""What the entry points share: flags, clean errors, quiet libraries, compilation cache.

A `UserError`, a bad flag or a bad configuration ends the program with one line on
stderr and exit status 2. Any other exception is a bug and keeps its traceback.
"""

import difflib
import logging as python_logging
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from absl import app, flags, logging

from tokenjax import disk_errors
from tokenjax.config_files import BadConfigError, ConfigFileParser, list_keys
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
    except BadConfigError as error:
        raise UserError(str(error)) from error
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
        last = key.rpartition(".")[2]
        same = [each for each in known if each.rpartition(".")[2] == last]
        nearest = same or difflib.get_close_matches(key, known, n=1, cutoff=0.7)
        hint = f", did you mean {nearest[0]!r}?" if nearest else ""
        return (
            f"no configuration key {key!r}{hint} `python -m tokenjax settings` lists "
            "them all"
        )
    return str(error)


def _without_class(message: str) -> str:
    """The line that says what is wrong, without an exception's class in front."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return re.sub(r"^(FATAL )?([\w.]*Error: )?", "", lines[0] if lines else message)
