"""The machine a measurement was made on, in words."""

import collections
import os
import pathlib
import platform

import jax


def describe() -> str:
    """Devices of this process, such as "1 x NVIDIA H200" or "CPU ..., 2 cores"."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return f"{_processor()}, {_cores()} cores"
    kinds = collections.Counter(device.device_kind for device in devices)
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.items())


def _processor() -> str:
    """The processor's own name on Linux; elsewhere what Python knows of it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
