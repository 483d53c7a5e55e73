"""How much memory this process and its devices use, in MiB, as log scalars."""

import pathlib
import sys

import jax

MEBI = 2**20


def memory_scalars() -> dict[str, float]:
    """Return the host's, and that of the local device that uses most.

    `memory/host` (Linux) and `memory/host_peak` are resident; `memory/device` and
    `memory/device_peak` are what XLA allocated. A CPU's memory is the host's.
    """
    found = {**_host()}
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    for name, key in (("device", "bytes_in_use"), ("device_peak", "peak_bytes_in_use")):
        values = [each[key] for each in stats if key in each]
        if values:
            found[f"memory/{name}"] = max(values) / MEBI
    return found


def _host() -> dict[str, float]:
    try:
        import resource
    except ImportError:  # Windows
        return {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"memory/host_peak": peak * unit / MEBI}
    pages = pathlib.Path("/proc/self/statm")
    if pages.exists():
        resident = int(pages.read_text().split()[1]) * resource.getpagesize()
        found["memory/host"] = resident / MEBI
    return found
