"""What `tokenjax check-device` does: choose, run, write, and say how it went."""

import os
import pathlib
import platform
import shlex
import shutil
import signal
import sys
import tempfile
import time
from types import FrameType

from absl import flags

from tokenjax import __version__, path_flags
from tokenjax.device_check import checkout, plan, runner, step_process
from tokenjax.device_check.summary import JSON, LOG, Summary
from tokenjax.errors import UserError

# What changes how a device computes, or where compiled programs are kept.
TOLD = ("JAX_", "XLA_", "CUDA_", "NVIDIA_", "TF_", "TORCH", "TRITON_", "LIBTPU_")
CACHES = {  # under the folder of the cache
    "JAX_COMPILATION_CACHE_DIR": "jax",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags; call it once, before they are parsed."""
    text = "For all steps together; their own limits are scaled with it."
    flags.DEFINE_float("minutes", plan.MINUTES, text, 0.1, flag_values=values)
    path_flags.define("output", "check_device", f"Folder of {JSON} and {LOG}.", values)
    text = f"Some of {','.join(plan.names())}, in this order; none named: all."
    flags.DEFINE_list("steps", [], text, flag_values=values)
    text = "Small sizes: to see that everything runs, on any machine."
    flags.DEFINE_bool("tiny", False, text, flag_values=values)
    text = "Steps that prepare at once; one alone measures. 0: by device and cores."
    flags.DEFINE_integer("together", 0, text, 0, flag_values=values)
    text = "Folder of compiled programs, kept; none: a new one, which goes at the end."
    path_flags.define("cache", "", text, values)


def main(values: flags.FlagValues) -> None:
    """Run the steps and write what they found.

    Raises:
      UserError: a flag that does not fit.
      SystemExit: with status 1, where a step failed or took too long.
    """
    steps = plan.choose(values.steps)
    output = pathlib.Path(values.output)
    _check_folder(output)
    before = signal.signal(signal.SIGTERM, _end)  # ends the steps' processes too
    work = pathlib.Path(tempfile.mkdtemp(prefix="check_device-"))
    try:
        cache = pathlib.Path(values.cache) if values.cache else work / "cache"
        cold = not (cache.is_dir() and any(cache.iterdir()))
        about = _about(values, cache, cold)
        settings = step_process.Settings(
            minutes=values.minutes,
            tiny=values.tiny,
            together=values.together,
            work=work,
            environment=environment(cache),
        )
        summary = Summary(output, about, len(steps))
        runner.run(steps, settings, summary.add)
    finally:
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(work, ignore_errors=True)
    print(f"\n{summary.table()}\n\n{output / JSON} has all figures, {LOG} the output.")
    if summary.status() != step_process.OK:
        sys.exit(1)


def environment(cache: pathlib.Path) -> dict[str, str]:
    """Return the environment of the steps: this one's, with caches of the check."""
    found = {**os.environ, "PYTHONUNBUFFERED": "1"}
    found.update({name: str(cache / folder) for name, folder in CACHES.items()})
    # Results of trying out kernels are kept too: the cache is of this device alone.
    found.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "all")
    # Several processes, and PyTorch beside jax, share one device's memory.
    found.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if (checkout.ROOT / "pyproject.toml").is_file():  # wherever this was started
        path = found.get("PYTHONPATH", "")
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(checkout.ROOT), path)))
    return found


def _about(
    values: flags.FlagValues, cache: pathlib.Path, cold: bool
) -> dict[str, object]:
    return {
        "tokenjax": __version__,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(sys.argv),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "minutes": values.minutes,
        "tiny": values.tiny,
        "together": values.together,
        "cache": {"began_cold": cold, "kept": bool(values.cache)},
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(TOLD)
        },
    }


def _check_folder(output: pathlib.Path) -> None:
    """Refuse a folder that cannot be one.

    Raises: UserError.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file, not a folder")
    parent = output if output.exists() else output.absolute().parent
    if not os.access(parent, os.W_OK):
        raise UserError(f"--output {output} cannot be written")


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
