"""What jax finds, with which libraries, and how fast products and copies are."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.benchmark import hardware, latency
from tokenjax.device_check import sizes
from tokenjax.device_check.command import TOLD
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.task import Task

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
OTHERS = ("torch", "timm", "triton", "tensorflow", "clu")  # nothing needs them here
PLUGINS = ("jax-cuda", "jax-rocm", "libtpu", "nvidia-cudnn", "nvidia-cublas")
QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm"
QUEUED = 10  # calls between two waits
REPEATS = 8
MOST_TOGETHER, CORES = 3, 5  # steps that prepare at once, and cores for each


def find(task: Task, findings: Findings) -> None:
    """Find out what is there, then measure it."""
    device = jax.devices()[0]
    findings.add(
        devices=[str(each) for each in jax.devices()],
        kind=device.device_kind,
        platform=device.platform,
        hardware=hardware.describe(),
        memory_bytes=(device.memory_stats() or {}).get("bytes_limit"),
        platform_version=" ".join(device.client.platform_version.split()),
        driver=_driver(),
        together=_together(device.platform),
        versions=_versions(),
        environment={
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(TOLD)
        },
    )
    side = _side(device.platform, task.tiny)
    rates = {}
    for name in ("bfloat16", "float32"):
        rates[name] = product_rate(side, jnp.dtype(name))
        findings.add(product_side=side, product_flops=dict(rates))
    peak = hardware.peak_flops(device.device_kind, "bfloat16")
    findings.add(
        measured_peak_flops=rates[sizes.computed_dtype()],
        data_sheet_flops=peak,
        **_copies(device.platform, task.tiny),
    )
    findings.say(
        f"{hardware.describe()}, jax {jax.__version__}: "
        f"{1e-12 * rates['bfloat16']:.3g} TFLOP/s in bfloat16 ({side}^3), "
        f"copies {1e-9 * float(str(findings.figures['copy_bytes_per_second'])):.3g} "
        "GB/s"
    )


def product_rate(side: int, dtype: jnp.dtype) -> float:
    """Return FLOPs a second of products of square matrices, the best of some."""
    key = jax.random.key(0)
    matrix = jax.random.normal(key, (side, side), jnp.float32).astype(dtype)
    product, _ = latency.compile_function(jnp.matmul, (matrix, matrix))
    return 2.0 * side**3 / _seconds(lambda: product(matrix, matrix))


def _copies(platform_name: str, tiny: bool) -> dict[str, float]:
    """Return bytes a second: within the device (read and written), and to it."""
    size = 2**20 if tiny else 2**26 if platform_name == "cpu" else 2**28
    array = jnp.zeros((size // 4,), jnp.float32)
    add, _ = latency.compile_function(lambda x: x + 1, (array,))
    within = 2.0 * size / _seconds(lambda: add(array))
    host = np.zeros((size // 4,), np.float32)
    jax.block_until_ready(jax.device_put(host))
    start = time.perf_counter()
    jax.block_until_ready(jax.device_put(host))
    to_device = host.nbytes / (time.perf_counter() - start)
    return {"copy_bytes_per_second": within, "host_to_device": to_device}


def _seconds(call: Callable[[], jax.Array]) -> float:
    """Return the least seconds of a call, of which several are queued at a time."""
    jax.block_until_ready(call())
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(QUEUED):
            last = call()
        jax.block_until_ready(last)
        found.append((time.perf_counter() - start) / QUEUED)
    return min(found)


def _together(platform_name: str) -> int:
    """Return how many steps may prepare at once: each compiles on several cores.

    A TPU belongs to one process at a time.
    """
    if platform_name not in ("gpu", "cuda", "rocm"):
        return 1
    return max(1, min(MOST_TOGETHER, (os.cpu_count() or 1) // CORES))


def _side(platform_name: str, tiny: bool) -> int:
    if tiny:
        return 256
    return 1024 if platform_name == "cpu" else 8192


def _versions() -> dict[str, str]:
    """Return the versions of what is installed and matters."""
    found = {"python": platform.python_version()}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        wanted = name in (*LIBRARIES, *OTHERS) or name.startswith(PLUGINS)
        if wanted:
            found.setdefault(name, distribution.version)
    return dict(sorted(found.items()))


def _driver() -> str | None:
    """Return what nvidia-smi says of the devices; None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
