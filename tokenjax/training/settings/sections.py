"""The sections of a run's settings: types, ranges, defaults, meanings."""

import dataclasses
from typing import Annotated, Literal

from tokenjax.arguments import (
    FREE,
    NOT_NEGATIVE,
    RATE,
    READ_AT_START,
    SHARE,
    OneOf,
    Range,
    Unread,
    above,
    at_least,
)
from tokenjax.training.settings.choices import OPTIMIZERS, SCHEDULES

Weight = Annotated[float, NOT_NEGATIVE]
Epochs = Annotated[float, NOT_NEGATIVE]
OF_ADAM = Unread("optimizer.name", "sgd", "momentum")
OF_PLATEAU = Unread("schedule.name", "cosine", "step", "multistep", "constant")
OF_THINNING = Unread("imbalance.profile", "none")


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """`optimizer`: the update rule."""

    name: Annotated[str, OneOf(OPTIMIZERS), "the update rule"] = "adamw"
    learning_rate: Annotated[float, NOT_NEGATIVE, "at the schedule's top"] = 1e-3
    weight_decay: Annotated[
        float,
        NOT_NEGATIVE,
        "decoupled for adamw and muon, added to the gradient otherwise",
    ] = 1e-4
    decay: Annotated[
        Literal["matrices", "all"], "what decays: kernels alone, or every parameter"
    ] = "matrices"
    beta1: Annotated[float, OF_ADAM, RATE, "of adam, adamw and muon's adam"] = 0.9
    beta2: Annotated[float, OF_ADAM, RATE, "likewise"] = 0.999
    epsilon: Annotated[float, OF_ADAM, NOT_NEGATIVE, "likewise"] = 1e-8
    momentum: Annotated[
        float,
        Unread("optimizer.name", "adamw", "adam", "sgd", "muon"),
        RATE,
        "of momentum",
    ] = 0.9
    layer_decay: Annotated[
        float,
        Range(above=0, maximum=1),
        "the rate of each layer over that of the next one; 1: all alike",
    ] = 1.0
    freeze: Annotated[
        tuple[str, ...], 'names of parameters that do not learn, such as "blocks_0-3"'
    ] = ()
    network_rate: Annotated[
        float,
        NOT_NEGATIVE,
        "the network's rate over that of what judges its tokens; 1: all alike",
    ] = 1.0
    network_after_epochs: Annotated[
        Epochs, "at first so long nothing learns but what judges its tokens"
    ] = 0.0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """`schedule`: the learning rate over the run, after a linear warm-up."""

    name: Annotated[str, OneOf(SCHEDULES), "how the rate falls"] = "cosine"
    warmup_epochs: Annotated[Epochs, "the rate rises from 0 so long"] = 0.0
    minimum_learning_rate: Annotated[
        float,
        Unread("schedule.name", "step", "multistep", "constant"),
        NOT_NEGATIVE,
        "where cosine ends; plateau goes no lower",
    ] = 0.0
    stepping: Annotated[
        Literal["step", "epoch"],
        Unread("schedule.name", "step", "multistep", "constant", "plateau"),
        "how often cosine changes the rate",
    ] = "step"
    step_epochs: Annotated[
        float,
        Unread("schedule.name", "cosine", "multistep", "constant", "plateau"),
        at_least(1e-6),
        "step: times `factor` every so many epochs",
    ] = 30.0
    milestones: Annotated[
        tuple[float, ...],
        Unread("schedule.name", "cosine", "step", "constant", "plateau"),
        NOT_NEGATIVE,
        "multistep: times `factor` at these epochs",
    ] = (60.0, 80.0)
    factor: Annotated[
        float,
        Unread("schedule.name", "cosine", "constant", "plateau"),
        NOT_NEGATIVE,
        "of step and multistep",
    ] = 0.1
    plateau_factor: Annotated[
        float, OF_PLATEAU, RATE, "plateau: times this when validation gets no better"
    ] = 0.5
    patience: Annotated[
        int,
        OF_PLATEAU,
        at_least(0),
        "plateau: evaluations in a row that may be no better, before the rate falls",
    ] = 10


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """`checkpoint`: what is kept. The best one (by validation) always is."""

    every_epochs: Annotated[float, above(0), "save so often"] = 10.0
    every_steps: Annotated[int, at_least(0), "instead of epochs, if above 0"] = 0
    keep: Annotated[int, at_least(1), "the newest so many, besides the best"] = 2
    evaluate: Annotated[
        Literal["last", "best"], "what the final evaluation and eval.py read"
    ] = "last"


@dataclasses.dataclass(frozen=True)
class Imbalance:
    """`imbalance`: thins the training split, and answers to an uneven one.

    The test split is left as the source has it.
    """

    profile: Annotated[
        Literal["none", "linear", "exponential"], "how classes are thinned"
    ] = "none"
    ratio: Annotated[
        float,
        OF_THINNING,
        Range(above=0, maximum=1),
        "smallest class over largest; an imbalance of 100 is 0.01",
    ] = 0.1
    seed: Annotated[int, OF_THINNING, at_least(0), "of the choice of examples"] = 42
    indices: Annotated[
        str,
        FREE,
        "instead of a profile: a file of the training examples kept (.txt, .npy)",
    ] = ""
    validation: Annotated[
        Literal["source", "left_out", "recorded"],
        FREE,
        "the source's; or of what is left out as many of each class; or CIFAR-ViT's",
    ] = "source"
    class_weights: Annotated[
        Literal["none", "inverse_frequency"], "of the classes in the loss"
    ] = "none"
    sampler: Annotated[
        Literal["shuffle", "weighted"],
        "weighted: with replacement, every class equally often",
    ] = "shuffle"
    logit_adjustment: Annotated[
        Weight, "times the log prior, added to logits in training (Menon: 1)"
    ] = 0.0
    many_shot: Annotated[
        int,
        FREE,
        at_least(0),
        '"many" are classes with more training examples than this',
    ] = 100
    few_shot: Annotated[
        int, FREE, at_least(0), '"few" are classes with fewer than this'
    ] = 20


@dataclasses.dataclass(frozen=True)
class Distillation:
    """`distillation`: of task "pruning", from a network that does not prune."""

    teacher: Annotated[
        str,
        READ_AT_START,
        "its workdir or converted checkpoint; empty: one is trained first",
    ] = ""
    teacher_epochs: Annotated[
        Epochs, READ_AT_START, "of a teacher trained first; 0: as many as the run"
    ] = 0.0
    teacher_learning_rate: Annotated[
        float, READ_AT_START, NOT_NEGATIVE, "of a teacher trained first; 0: the run's"
    ] = 0.0
    logit_weight: Annotated[
        Weight, "of KL(teacher, student) between class distributions"
    ] = 0.5
    token_weight: Annotated[Weight, "of the distance between the tokens kept"] = 0.5
    token_distance: Annotated[
        Literal["squared", "kl"],
        "mean squared, or KL of the softmaxes over channels (LV-ViT's)",
    ] = "squared"


@dataclasses.dataclass(frozen=True)
class Routing:
    """`routing`: of task "routing", how the budget is reached.

    The target ratio and the temperature of the model are where annealing ends.
    """

    start_ratio: Annotated[
        float, SHARE, "the target before annealing; 1: all to the big network"
    ] = 1.0
    start_temperature: Annotated[
        float, NOT_NEGATIVE, "of the router before annealing; 0: the model's"
    ] = 0.0
    anneal_from_epochs: Annotated[Epochs, "when annealing begins"] = 0.0
    anneal_to_epochs: Annotated[
        float,
        NOT_NEGATIVE,
        "when it ends; 0: no annealing, the model's own from the start",
    ] = 0.0


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """`shrinking`: of task "shrinking", how tokens become fewer."""

    from_epochs: Annotated[Epochs, "so long every token is kept"] = 10.0
    over_epochs: Annotated[
        Epochs, "then the share falls so long to the reduction's own"
    ] = 100.0


@dataclasses.dataclass(frozen=True)
class Reid:
    """`reid`: of task "reid", re-identification from several modalities."""

    instances: Annotated[int, at_least(2), "images of each identity in a batch"] = 4
    identity_weight: Annotated[float, "of the cross-entropy of every score"] = 0.25
    triplet_weight: Annotated[float, "of the triplet loss of every feature"] = 1.0
    triplet_margin: Annotated[float, NOT_NEGATIVE, "0: soft margin"] = 0.0
    fused_weight: Annotated[
        Weight, "of the fused pair in the loss; every other has a weight of 1"
    ] = 1.0
    fused_triplet_weight: Annotated[
        Weight, "times triplet_weight, of the fused feature's triplet loss"
    ] = 1.0
    direct_only_epochs: Annotated[
        Epochs, "at first so long nothing but the direct branch learns"
    ] = 0.0
    feature: Annotated[
        Literal["direct", "fused", "concat"], "what retrieval goes by"
    ] = "concat"
    rerank: Annotated[bool, FREE, "evaluate with k-reciprocal re-ranking as well"] = (
        False
    )
    missing_modalities: Annotated[
        bool, FREE, "evaluate with one or two modalities left out as well"
    ] = True
    backbone_learning_rate: Annotated[
        float, "its peak; optimizer.learning_rate is the rest's"
    ] = 5e-6
    bias_factor: Annotated[float, "times the rate, of biases elsewhere"] = 2.0
    large_classifier: Annotated[bool, "classifiers at twice the rate"] = False
    freeze_backbone: Annotated[bool, "the backbone does not learn"] = False
    backbone_from: Annotated[
        str, READ_AT_START, "a converted backbone to start from"
    ] = ""
    warmup_start: Annotated[
        Literal["own", "recorded"],
        "own: a tenth of each group's rate; recorded: of the base rate for all",
    ] = "own"
    learning_rate_noise: Annotated[bool, "a random factor every epoch, as recorded"] = (
        False
    )
    aligned_augmentation: Annotated[bool, "one draw for all modalities of a sample"] = (
        True
    )
    flip: Annotated[float, SHARE, "probability"] = 0.5
    crop_padding: Annotated[int, at_least(0), "pixels"] = 10
    random_erasing: Annotated[float, SHARE, "probability"] = 0.5


@dataclasses.dataclass(frozen=True)
class Observation:
    """`observation`: what a run says of its own running (docs/observability.md)."""

    profile_after: Annotated[
        int, at_least(0), "steps of this start before those that `profile` traces"
    ] = 10
    profile_steps: Annotated[int, at_least(1), "steps that `profile` traces"] = 5
    input_wait_warning: Annotated[
        float, NOT_NEGATIVE, "warn if data costs a larger share of the time"
    ] = 0.2
    stalled_seconds: Annotated[
        float, NOT_NEGATIVE, "say so when no batch comes for so long; 0: never"
    ] = 30.0
    looks: Annotated[
        int,
        at_least(0, 64),
        "images on which every evaluation draws what the model looks at; 0: none",
    ] = 6


@dataclasses.dataclass(frozen=True)
class Cluster:
    """`cluster`: of `distributed`, where the processes meet (docs/clusters.md).

    What is left alone a TPU pod, SLURM, Open MPI or Kubernetes says, or else the
    environment: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID.
    """

    coordinator_address: Annotated[
        str, "host:port, a free port of process 0's host"
    ] = ""
    num_processes: Annotated[int, at_least(0), "0: as the environment says"] = 0
    process_id: Annotated[int, at_least(-1), "0, 1, ...; -1: likewise"] = -1
    join_seconds: Annotated[
        int, at_least(1), "how long a process waits for the others"
    ] = 300
    heartbeat_seconds: Annotated[
        int, at_least(1), "silent for so long, a process counts as dead"
    ] = 100
