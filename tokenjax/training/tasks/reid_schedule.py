"""Learning rate of a parameter group, epoch by epoch, for re-identification.

For a group of base rate b in epoch e = 1..E, with W epochs of warm-up:

    e < W       w + e (b - w) / W                         w = b / 10, "own"
                                                            or base / 10, "recorded"
    W <= e < E  m + (b - m) (1 + cos(pi e / E)) / 2       m = base / 1000 unless given
    e = E       m
    e < E       times 1 + z_e, if there is noise

where base is the rate of ordinary parameters. "recorded" starts every group at the same
rate: a backbone whose b is far below base / 10 then begins far above its b and falls.
The cosine counts from epoch 0, not from W: the rate drops a little at the seam.

Source: DeMo2 at 6334359, solver/cosine_lr.py and scheduler_factory.py.
"""

import dataclasses
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

WARMUP_START = ("own", "recorded")


@dataclasses.dataclass(frozen=True)
class ReidSchedule:
    """What all groups have in common."""

    base_learning_rate: float
    epochs: int
    warmup_epochs: float = 10.0
    warmup_start: str = "own"
    minimum: float | None = None  # None: base_learning_rate / 1000
    noise: tuple[float, ...] = ()  # z_e of epoch 1, 2, ...; (): none

    def __post_init__(self) -> None:
        if self.warmup_start not in WARMUP_START:
            raise ValueError(
                f"warmup_start must be one of {WARMUP_START}, got {self.warmup_start!r}"
            )


def epoch_rate(group_rate: float, epoch: int, schedule: ReidSchedule) -> float:
    """Return the learning rate in epoch 1..E of a group with that base rate."""
    base, last = schedule.base_learning_rate, schedule.epochs
    minimum = base / 1000 if schedule.minimum is None else schedule.minimum
    if epoch >= last:
        return minimum
    if epoch < schedule.warmup_epochs:
        start = 0.1 * (base if schedule.warmup_start == "recorded" else group_rate)
        rate = start + epoch * (group_rate - start) / schedule.warmup_epochs
    else:
        cosine = (1 + math.cos(math.pi * epoch / last)) / 2
        rate = minimum + (group_rate - minimum) * cosine
    return rate * (1 + schedule.noise[epoch - 1]) if schedule.noise else rate


def group_schedule(
    group_rate: float, schedule: ReidSchedule, steps_per_epoch: float
) -> optax.Schedule:
    """Return step (from 0) -> learning rate of a group, constant within an epoch."""
    epochs = np.arange(schedule.epochs)
    rates = [epoch_rate(group_rate, epoch + 1, schedule) for epoch in epochs.tolist()]
    starts = np.round(epochs * steps_per_epoch).astype(np.int32)

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        index = jnp.searchsorted(jnp.asarray(starts), step, side="right") - 1
        return jnp.asarray(rates, jnp.float32)[index]

    return rate


def recorded_noise(epochs: int, seed: int = 42) -> tuple[float, ...]:
    """Return the original's z_e: the first |z| < 0.67 of torch's seed + e; z_E = 0.

    Raises: ValueError for less than one epoch.
    """
    if epochs < 1:
        raise ValueError(f"noise needs at least 1 epoch, got {epochs}")
    draws = (_torch_normals(seed + epoch) for epoch in range(1, epochs))
    kept = (next(z for z in normals if abs(z) < 0.67) for normals in draws)
    return (*kept, 0.0)


def _torch_normals(seed: int) -> Iterator[float]:
    """Yield what `torch.randn(1, generator=torch.Generator().manual_seed(seed))` gives.

    Box-Muller in float64 on the Mersenne Twister that numpy has too; one after another.
    """
    twister = np.random.RandomState(seed)
    while True:
        words = twister.randint(0, 2**32, size=4, dtype=np.uint32).astype(np.uint64)
        bits = (words[::2] << np.uint64(32) | words[1::2]) & np.uint64(2**53 - 1)
        angle, size = (bits * 2.0**-53).tolist()  # uniform in [0, 1)
        radius = math.sqrt(-2 * math.log1p(-size))
        yield float(np.float32(radius * math.cos(2 * math.pi * angle)))
        yield float(np.float32(radius * math.sin(2 * math.pi * angle)))
