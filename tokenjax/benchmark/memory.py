"""Peak device memory of a compiled function, in bytes.

A device's own counter is a high-water mark of the whole process: it cannot be reset,
and a small model measured after a big one would get the big one's number. It is
believed only where it rose while the function ran; otherwise the compiler's plan is.
"""

import dataclasses
from typing import Any

import jax

DEVICE = "device peak of the process"
COMPILER = "arguments + outputs + temporaries of the compiled program"


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes, and how they were found: `DEVICE` or `COMPILER`."""

    bytes: int
    method: str


def device_peak(device: jax.Device) -> int | None:
    """The device's high-water mark so far, or None where it keeps none (CPU)."""
    statistics = device.memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def peak_memory(
    compiled: jax.stages.Compiled, device: jax.Device, peak_before: int | None = None
) -> Memory:
    """Peak memory of a function that has just run.

    Args:
      compiled: the function, compiled.
      device: where it ran.
      peak_before: `device_peak(device)` just before it ran; with None the device's mark
        is taken as it is, right only for the first function of a process.
    """
    peak = device_peak(device)
    if peak is not None and (peak_before is None or peak > peak_before):
        return Memory(peak, DEVICE)
    plan: Any = compiled.memory_analysis()
    total = (
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        + plan.temp_size_in_bytes
        - plan.alias_size_in_bytes  # outputs that live in donated arguments
    )
    return Memory(int(total), COMPILER)
