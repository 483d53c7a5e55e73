"""The fields of a run's settings: types, ranges, defaults, meanings."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from tokenjax.arguments import (
    FREE,
    NOT_NEGATIVE,
    RATE,
    READ_AT_START,
    OneOf,
    above,
    at_least,
)
from tokenjax.data import Augmentation
from tokenjax.data.reading_processes import MOST_PROCESSES
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.settings.sections import (
    Checkpoint,
    Cluster,
    Distillation,
    Imbalance,
    Observation,
    Optimizer,
    Reid,
    Routing,
    Schedule,
    Shrinking,
)

LARGEST_COUNT = 2**31 - 1  # of steps, which are counted in int32
FROM_WEIGHTS = "from_weights"  # as model.name: the model of what init_from names
Section = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Fields:
    """All settings of a run, sections among them."""

    task: Annotated[str, OneOf(TASKS), "what is learned"] = "classification"
    seed: Annotated[int, at_least(0, 2**32 - 1), "of every random draw"] = 0
    batch_size: Annotated[
        int, at_least(1, LARGEST_COUNT), "images of a step, over all devices"
    ] = 64
    epochs: Annotated[float, NOT_NEGATIVE, "how long to train"] = 100.0
    steps: Annotated[
        int, at_least(0, LARGEST_COUNT), "instead of epochs, if above 0"
    ] = 0
    label_smoothing: Annotated[float, RATE, "share of the other classes"] = 0.0
    evaluation_loss: Annotated[
        Literal["cross_entropy", "criterion"],
        "criterion: as in training, with smoothing, class weights, logit adjustment",
    ] = "cross_entropy"
    gradient_accumulation: Annotated[
        int, at_least(1), "a step's batch goes through in so many parts"
    ] = 1
    gradient_clip: Annotated[float, NOT_NEGATIVE, "global L2 norm; 0: off"] = 0.0
    ema_decay: Annotated[
        float,
        RATE,
        "of the averaged parameters that are evaluated, less early on; 0: off",
    ] = 0.0
    distributed: Annotated[bool, FREE, "one of several processes, see `cluster`"] = (
        False
    )
    fsdp: Annotated[
        bool, FREE, "parameters and optimiser state split over the devices"
    ] = False
    init_from: Annotated[
        str, READ_AT_START, "a converted checkpoint or another run's workdir"
    ] = ""
    init_head: Annotated[
        Literal["auto", "new", "keep"],
        READ_AT_START,
        "of init_from's classifier; auto: kept if the classes have the same names",
    ] = "auto"
    init_changes: Annotated[
        tuple[str, ...],
        READ_AT_START,
        "arguments of the model that may differ from init_from's",
    ] = ()
    reading_processes: Annotated[
        int,
        FREE,
        at_least(0, MOST_PROCESSES),
        "that make training batches; 0: threads of this one do",
    ] = 0
    log_every_steps: Annotated[int, FREE, at_least(1, LARGEST_COUNT), "log rows"] = 20
    profile: Annotated[bool, FREE, "trace some steps into workdir/profile"] = False
    figures: Annotated[
        bool, FREE, "drawn after the final evaluation, and small ones at every other"
    ] = True
    evaluate_every_epochs: Annotated[float, FREE, above(0), "on validation"] = 10.0
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    checkpoint: Annotated[Checkpoint, FREE] = dataclasses.field(
        default_factory=Checkpoint
    )
    cluster: Annotated[Cluster, FREE] = dataclasses.field(default_factory=Cluster)
    observation: Annotated[Observation, FREE] = dataclasses.field(
        default_factory=Observation
    )
    imbalance: Imbalance = dataclasses.field(default_factory=Imbalance)
    distillation: Distillation = dataclasses.field(default_factory=Distillation)
    routing: Routing = dataclasses.field(default_factory=Routing)
    shrinking: Shrinking = dataclasses.field(default_factory=Shrinking)
    reid: Reid = dataclasses.field(default_factory=Reid)
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    model: Annotated[Section, "a model's name and its arguments"] = dataclasses.field(
        default_factory=lambda: {"name": "vdpa"}
    )
    data: Annotated[Section, "a source and its arguments"] = dataclasses.field(
        default_factory=lambda: {"source": "digits"}
    )
    ablation: Annotated[Section, FREE, "of study: what is varied"] = dataclasses.field(
        default_factory=dict
    )
    compare: Annotated[Section, FREE, "of eval.py --eval_all: name -> variant"] = (
        dataclasses.field(default_factory=dict)
    )
