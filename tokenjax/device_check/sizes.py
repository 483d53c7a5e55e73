"""What is measured of a model: its size and batch, or tiny ones, by the device."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import jax

from tokenjax.benchmark import latency
from tokenjax.device_check.task import Task

TIMING = latency.Timing(warmup=2, repeats=40, max_seconds=5.0)
TINY_TIMING = latency.Timing(warmup=1, repeats=5, max_seconds=0.5)
TINY_BATCH = 2
# Arguments by which each model compiles in a few seconds on a CPU.
TINY: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "vit_base_patch16": {
            "img_size": 32,
            "embed_dim": 32,
            "depth": 2,
            "num_heads": 2,
            "num_classes": 10,
        },
        "vdpa": {
            "img_size": 32,
            "patch_size": 8,
            "embed_dim": 32,
            "depth": 2,
            "num_heads": 2,
        },
        "dynamic_vit": {"img_size": 16, "embed_dim": 32, "depth": 4, "num_heads": 2},
        "demo": {
            "image_size": (32, 16),
            "width": 32,
            "depth": 2,
            "num_heads": 2,
            "feat_dim": 32,
        },
    }
)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A model and how it is measured.

    Attributes:
      model: its name.
      arguments: of its constructor.
      dtype: of the computation: bfloat16, and float32 on a CPU.
      pixels: a side; 0: the model's own.
      batch: images per call.
      timing: rounds, and how long.
      compiled: whether torch.compile is waited for.
    """

    model: str
    arguments: Mapping[str, object]
    dtype: str
    pixels: int
    batch: int
    timing: latency.Timing
    compiled: bool


def computed_dtype() -> str:
    """Return the type that models are measured in: a CPU gains nothing by halves."""
    return "float32" if jax.devices()[0].platform == "cpu" else "bfloat16"


def choose(task: Task) -> Chosen:
    """Return what a task's arguments ask for: model, batch, pixels, arguments."""
    given = task.arguments
    model = str(given["model"])
    arguments = given.get("arguments", {})
    assert isinstance(arguments, dict)
    dtype = computed_dtype()
    if task.tiny:
        own = TINY.get(model, {})
        return Chosen(model, own, dtype, 0, TINY_BATCH, TINY_TIMING, False)
    return Chosen(
        model=model,
        arguments=arguments,
        dtype=dtype,
        pixels=int(str(given.get("pixels", 0))),
        batch=int(str(given["batch"])),
        timing=TIMING,
        compiled=True,
    )
