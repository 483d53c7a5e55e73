"""The machine a measurement was made on, in words."""

import collections
import pathlib
import platform

import jax

from tokenjax.benchmark import cores


def describe() -> str:
    """Name the devices of this process: "1 x NVIDIA H200" or "CPU ..., 2 cores"."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        count = cores.count()
        return f"{_processor()}, {count} {'core' if count == 1 else 'cores'}"
    kinds = collections.Counter(device.device_kind for device in devices)
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.items())


# 10^12 operations a second of dense products, by the makers' data sheets: (bfloat16,
# float32). NVIDIA's float16 is as quick as bfloat16. float32 there is TF32, which JAX
# uses for products by default; TPUs run float32 products at bfloat16 precision.
_PEAKS = {
    "H200": (989.4, 494.7),
    "H100 PCIe": (756.0, 378.0),
    "H100": (989.4, 494.7),
    "A100": (312.0, 156.0),
    "L4": (121.0, 60.0),
    "TPU v4": (275.0, 275.0),
    "TPU v5 lite": (197.0, 197.0),
    "TPU v5e": (197.0, 197.0),
    "TPU v5p": (459.0, 459.0),
    "TPU v5": (459.0, 459.0),
    "TPU v6 lite": (918.0, 918.0),
    "TPU v6e": (918.0, 918.0),
}


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """Return the most FLOPs a second of a device, None where no data sheet tells."""
    if dtype == "float16" and "TPU" in device_kind:
        return None
    for name, (half, single) in _PEAKS.items():
        if name in device_kind:
            return 1e12 * (single if dtype == "float32" else half)
    return None


def _processor() -> str:
    """Return the processor's name on Linux; elsewhere what Python knows of it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
