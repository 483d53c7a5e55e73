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

from tokenjax.errors import UserError


def run(main: Callable[[list[str]], None]) -> None:
    """Parses the flags and calls `main` with what is left of argv."""
    _tune_allocator()
    # Before TensorFlow or jax start. Their notes on oneDNN and absent TPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    logging.get_absl_handler().addFilter(_Quiet())
    app.run(lambda argv: _guard(main, argv), flags_parser=_parse_flags)


# Huge pages; one heap, that threads share and that keeps what is freed (up to 1 TiB):
# large blocks of another thread would be mapped apart, whatever mmap_max says.
ALLOCATOR = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.arena_max=1:"
    "glibc.malloc.trim_threshold=1099511627776"
)


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
    print(f"{workdir}/evaluation{suffix}.json and {workdir}/figures{suffix}: the rest")


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
        library = any(name in record.pathname for name in ("/orbax/", "/jax/"))
        return record.levelno >= python_logging.ERROR or not library


def _guard(main: Callable[[list[str]], None], argv: list[str]) -> None:
    try:
        main(argv)
    except UserError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """One line on stderr, exit status 2."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(2)


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
        _check_config_files()
        return rest
    except (UserError, flags.Error) as error:
        fail(_without_class(str(error)))
    except (AttributeError, KeyError) as error:  # of ml_collections: no such key
        fail(f"--config: {_unknown_key(error)}")
    except (OSError, ValueError, TypeError, SyntaxError) as error:
        fail(f"--config: {_without_class(str(error))}")


def _check_config_files() -> None:
    """ml_collections would tell of a missing file only when the value is read.

    Raises: UserError.
    """
    for name in flags.FLAGS:
        flag: Any = flags.FLAGS[name]
        if hasattr(flag, "override_values"):  # a config file's flag
            path = flag.config_filename.partition(":")[0]
            if not pathlib.Path(path).is_file():
                raise UserError(f"--{name}: no file {path}")


def _unknown_key(error: Exception) -> str:
    """ml_collections says: 'dpth'\\nDid you mean "depth" instead of "dpth"?"""
    name = re.search(r"\w[\w.]*", str(error).replace("\\n", "\n"))
    nearest = re.search(r'Did you mean "([^"]+)"', str(error))
    hint = f", did you mean {nearest[1]!r}?" if nearest else ""
    return f"no configuration key {name[0]!r}{hint}" if name else str(error)


def _without_class(message: str) -> str:
    """The line that says what is wrong, without an exception's class in front.

    ml_collections puts the whole traceback of a config file into its message; the last
    line is the error.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    line = lines[-1] if "Error whilst parsing" in message else lines[0]
    return re.sub(r"^(FATAL )?([\w.]*Error: )?", "", line)
