"""Peak device memory of a compiled function, in bytes.

A device's own counter is a high-water mark of the whole process: it cannot be reset,
and a small model measured after a big one would get the big one's number. It is
believed only where it rose while the function ran; otherwise the compiler's plan is.
"""

import dataclasses
import pathlib
import re

import jax

from tokenjax.errors import UserError

DEVICE = "device peak of the process"
COMPILER = "arguments + outputs + temporaries of the compiled program"


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes, and how they were found: `DEVICE` or `COMPILER`."""

    bytes: int
    method: str


def device_peak(device: jax.Device) -> int | None:
    """Return the device's high-water mark so far, or None where it keeps none (CPU)."""
    statistics = device.memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def peak_memory(
    compiled: jax.stages.Compiled, device: jax.Device, peak_before: int | None = None
) -> Memory:
    """Return the peak memory of a function that has just run.

    Args:
      compiled: the function, compiled.
      device: where it ran.
      peak_before: `device_peak(device)` just before it ran; with None the device's mark
        is taken as it is, right only for the first function of a process.
    """
    peak = device_peak(device)
    if peak is not None and (peak_before is None or peak > peak_before):
        return Memory(peak, DEVICE)
    return Memory(planned(compiled), COMPILER)


def plan(compiled: jax.stages.Compiled) -> int | None:
    """Return `planned`, None where the compiler has no plan."""
    return None if compiled.memory_analysis() is None else planned(compiled)


def planned(compiled: jax.stages.Compiled) -> int:
    """Return the bytes that the compiler plans for all that a program holds."""
    plan = compiled.memory_analysis()
    if plan is None:
        raise ValueError("this device's compiler has no plan of memory")
    return int(
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        + plan.temp_size_in_bytes
        - plan.alias_size_in_bytes  # outputs that live in donated arguments
    )


class OutOfMemory(UserError):
    """A batch that the device's memory does not hold."""


def check_fits(compiled: jax.stages.Compiled, device: jax.Device) -> None:
    """Refuse on a CPU what no accelerator would allocate either.

    There an allocation does not fail: the operating system ends the process later.

    Raises:
      OutOfMemory: the plan is larger than the memory that is free.
    """
    free = available() if device.platform == "cpu" else None
    needed = planned(compiled)
    if free is not None and needed > free:
        raise OutOfMemory(
            f"needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
        )


def room(device: jax.Device) -> int | None:
    """Return the bytes of a device that a program could have, None where unknown.

    That is what is free: of an accelerator all that JAX may use, without what it holds.
    """
    if device.platform == "cpu":
        return available()
    statistics = device.memory_stats() or {}
    limit = statistics.get("bytes_limit")
    return limit and limit - statistics.get("bytes_in_use", 0)


def of_double(half: int | None, last: int | None) -> int | None:
    """Return the bytes that twice a batch will need by the plans of two before it.

    A plan is weights and the like, and so many bytes an image: the last doubling added
    a half of what the next will.
    """
    if half is None or last is None:
        return None
    return last + 2 * max(last - half, 0)


def available() -> int | None:
    """Return the bytes that a process can still have, None where unknown."""
    try:
        text = pathlib.Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None
