"""The steps of the check, most important first, and how long each may take.

Seconds are of a check of `MINUTES`; they are more than a step is meant to need, for
what is not spent is left to the next ones. A shorter or longer check has shorter or
longer limits.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from tokenjax.errors import UserError, unknown_name

MINUTES = 8.0
LEAST = 0.2  # of a step's limit: with less time left it is not begun


@dataclasses.dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
      name: what --steps takes.
      what: what it finds out, in words.
      module: of `tokenjax.device_check.steps`.
      seconds: its limit, in a check of `MINUTES`.
      shares: others may prepare their measurements while it runs, and it beside them.
      arguments: of the module's `find`, whatever JSON takes.
    """

    name: str
    what: str
    module: str
    seconds: float
    shares: bool = True
    arguments: Mapping[str, object] = dataclasses.field(default_factory=dict)


def _peer(
    name: str, what: str, seconds: float, shares: bool, **arguments: object
) -> Step:
    what = f"{what} against PyTorch's"
    return Step(name, what, "peers", seconds, shares, arguments)


VIT = "vit_base_patch16"
REDUCTIONS = (
    "tome:r=13",
    "evit:keep_rate=0.7,reduction_loc=(3,6,9)",
    "topk:keep_rate=0.7,reduction_loc=(3,6,9)",
)
ROUTING = (  # what, at which size, at which batch
    *(("routed stage", size, 256) for size in ("large", "default size")),
    *(("routed stage", size, 1024) for size in ("large", "default size")),
    ("whole models", "default size", 256),
    *(("routed stage", "large", batch) for batch in (64, 1)),
)
PRECISE = (  # which models' half precision is measured
    *("vit_small_patch16", "vdpa", "dynamic_vit", "demo", "attention_routing"),
    *("swin_tiny", "convnextv2_tiny", "vit", "linear_vit", "resnet50"),
)
STARTED = (  # every architecture once
    *(VIT, "vdpa(img_size=224)", "dynamic_vit", "demo", "attention_routing"),
    *("convnextv2_tiny", "swin_tiny", "maxvit_tiny", "vmamba_tiny", "resnet50"),
    *("vit", "linear_vit", "full_compute"),
)

STEPS: tuple[Step, ...] = (
    Step("device", "what is there, and how fast it is", "device", 45, False),
    Step("parity", "recorded outputs and gradients", "parity", 75),
    _peer("vit_base", "ViT-B/16", 160, False, model=VIT, batch=64),
    Step(
        "throughput",
        "training steps of ViT-B at growing batches",
        "throughput",
        80,
        arguments={"model": VIT, "batch": 128, "batches": [128, 256, 512]},
    ),
    _peer("vdpa", "VDPA at 224 pixels", 140, True, model="vdpa", batch=64, pixels=224),
    Step(
        "routing",
        "time saved by routing",
        "routing",
        90,
        arguments={"comparisons": ROUTING},
    ),
    Step(
        "reducers",
        "time saved by reducing ViT-B's tokens",
        "reducers",
        110,
        arguments={
            "model": VIT,
            "batch": 64,
            "batches": [64, 256, 1],
            "reductions": REDUCTIONS,
        },
    ),
    _peer("dynamic_vit", "DynamicViT", 140, True, model="dynamic_vit", batch=256),
    _peer("demo", "DeMo", 140, True, model="demo", batch=64),
    Step(
        "precision",
        "logits in half precision against float32",
        "precision",
        70,
        arguments={"models": PRECISE},
    ),
    Step(
        "digits",
        "a training run on digits",
        "training",
        80,
        arguments={"config": "vdpa"},
    ),
    Step("retrieval", "ranking a gallery", "retrieval", 45),
    Step("sharding", "a state split over the devices", "sharding", 60),
    Step(
        "starting",
        "seconds to the first row, cold",
        "starting",
        120,
        False,
        {"models": STARTED, "at_once": 4},
    ),
    Step(
        "fashion_mnist",
        "a training run on Fashion-MNIST",
        "training",
        90,
        arguments={"config": "vdpa:fashion_mnist"},
    ),
)


def names() -> list[str]:
    """Return the names of all steps, in their order."""
    return [step.name for step in STEPS]


def choose(wanted: Sequence[str]) -> list[Step]:
    """Return the steps of these names, in their order; all where none is named.

    Raises: UserError.
    """
    by_name = {step.name: step for step in STEPS}
    for name in wanted:
        if name not in by_name:
            raise UserError(f"--steps: {unknown_name('step', name, names())}")
    return [by_name[name] for name in dict.fromkeys(wanted)] if wanted else list(STEPS)
