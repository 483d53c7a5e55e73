"""Entry points and small training runs, for the tests: here or as processes."""

import os
import pathlib
import subprocess
import sys
from typing import Any

from helpers.entry_points import Finished, run_in_process

from tokenjax import allocator

REPOSITORY = pathlib.Path(__file__).parents[2]
WITHOUT_TENSORFLOW = pathlib.Path(__file__).parent / "without_tensorflow"
SMALL = [
    "--config.data.image_size=16",
    "--config.model.patch_size=8",
    "--config.model.embed_dim=16",
    "--config.model.depth=1",
    "--config.model.num_heads=2",
    "--config.steps=24",
    "--config.log_every_steps=4",
    "--config.evaluate_every_epochs=0.5",
    "--config.checkpoint.every_epochs=0.2",
    "--config.figures=False",
]
FIGURES = "--config.figures=True"
COMMANDS = {
    "train.py": "train",
    "eval.py": "eval",
    "bench.py": "bench",
    "-m tokenjax.convert": "convert",
    "-m tokenjax.benchmark.analyze": "analyze",
    "-m tokenjax.reliability.fuzz": "fuzz",
}


def command(script: str, *arguments: object) -> list[str]:
    """[python, script, ...]; a module is named "-m package.module"."""
    head = script.split() if script.startswith("-m") else [str(REPOSITORY / script)]
    return [sys.executable, *head, *map(str, arguments)]


def environment(tensorflow: bool = False, **extra: str) -> dict[str, str]:
    """This process's, with the suite's compilation cache and no accelerator.

    Without `tensorflow` it cannot be imported, which spares its import's seconds.
    XLA_FLAGS are added to the suite's own.
    """
    if "XLA_FLAGS" in extra:
        extra["XLA_FLAGS"] += " " + os.environ.get("XLA_FLAGS", "")
    hidden = (
        []
        if tensorflow
        else [str(REPOSITORY / "tests" / "helpers" / "without_tensorflow")]
    )
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # As a program on CPU has it; set here, none starts again, nor says so.
        allocator.VARIABLE: allocator.ALLOCATOR,
        "JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".cache" / "jax"),
        "PYTHONPATH": os.pathsep.join([*hidden, str(REPOSITORY)]),
        **extra,
    }


def run(
    script: str,
    *arguments: object,
    own_process: bool = False,
    timeout: float = 120,
    **extra: Any,
) -> subprocess.CompletedProcess | Finished:
    """Run an entry point from the repository to its end.

    In this process, which spares imports and compilations; in one of its own where it
    is to have another environment, or its warnings are looked at, or signals meant.
    """
    name = COMMANDS.get(script)
    if name and not own_process and not extra:
        return run_in_process(name, *arguments)
    return subprocess.run(
        command(script, *arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=REPOSITORY,
        env=environment(**extra),
    )


def train_small(
    workdir: pathlib.Path,
    *arguments: str,
    config: str = "configs/vdpa.py",
    timeout: float = 120,
    **extra: Any,
):
    """train.py on digits with a tiny model, 24 steps."""
    return run(
        "train.py",
        *["--config", config, "--workdir", workdir, *SMALL, *arguments],
        timeout=timeout,
        **extra,
    )
