"""Every setting of a run, with its type, default and meaning.

`default_config()` is where a file in `configs/` starts; `Settings.from_config` checks
what the user made of it. The sections `model`, `data` and `augmentation` are checked by
who reads them: `models.create`, `data.load`, `data.Augmentation`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tokenjax.data import Augmentation
from tokenjax.errors import UserError, unknown_name
from tokenjax.plain_values import check_plain
from tokenjax.training.settings.setting_limits import LARGEST_COUNT, limit_problems


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """`optimizer`: the update rule."""

    name: str = "adamw"  # adamw | adam | sgd | momentum | muon
    learning_rate: float = 1e-3  # at the schedule's top
    weight_decay: float = (
        1e-4  # decoupled for adamw and muon, added to the gradient otherwise
    )
    decay: str = "matrices"  # "matrices": kernels alone; "all": every parameter
    beta1: float = 0.9  # adam, adamw
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum: float = 0.9  # momentum


@dataclasses.dataclass(frozen=True)
class Schedule:
    """`schedule`: the learning rate over the run, after a linear warm-up."""

    name: str = "cosine"  # cosine | step | multistep | constant
    warmup_epochs: float = 0.0
    minimum_learning_rate: float = 0.0  # where cosine ends
    step_epochs: float = 30.0  # step: times `factor` every so many epochs
    milestones: tuple[float, ...] = (60.0, 80.0)  # multistep: times `factor` at epochs
    factor: float = 0.1


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """`checkpoint`: what is kept. The best one (validation top-1) always is."""

    every_epochs: float = 10.0
    every_steps: int = 0  # instead of epochs, if above 0
    keep: int = 2  # the newest so many
    evaluate: str = (
        "last"  # which one the final evaluation and eval.py read: last | best
    )


@dataclasses.dataclass(frozen=True)
class Imbalance:
    """`imbalance`: thins the training split, and answers to an uneven one.

    Validation and test are left as the source has them.
    """

    profile: str = "none"  # none | linear | exponential
    ratio: float = 0.1  # smallest class over largest; an imbalance of 100 is 0.01
    seed: int = 42  # of the choice of examples
    class_weights: str = "none"  # none | inverse_frequency, in the loss
    sampler: str = "shuffle"  # shuffle | weighted (with replacement, classes alike)
    logit_adjustment: float = 0.0  # times log prior, added in training (Menon: 1)
    many_shot: int = 100  # "many": classes with more training examples
    few_shot: int = 20  # "few": classes with fewer


@dataclasses.dataclass(frozen=True)
class Distillation:
    """`distillation`: of task "pruning", from a network that does not prune."""

    teacher: str = ""  # its workdir or converted checkpoint; empty: trained first
    teacher_epochs: float = 0.0  # of a teacher trained first; 0: as many as the run
    teacher_learning_rate: float = 0.0  # likewise; 0: the run's
    logit_weight: float = 0.5  # of KL(teacher, student) between class distributions
    token_weight: float = 0.5  # of the squared distance between the tokens kept


@dataclasses.dataclass(frozen=True)
class Routing:
    """`routing`: of task "routing", how the budget is reached.

    The target ratio and the temperature of the model are where annealing ends.
    """

    start_ratio: float = 1.0  # the target before annealing; 1: all to the big network
    start_temperature: float = 0.0  # of the router, before annealing; 0: the model's
    anneal_from_epochs: float = 0.0
    anneal_to_epochs: float = 0.0  # 0: no annealing, the model's own from the start


@dataclasses.dataclass(frozen=True)
class Reid:
    """`reid`: of task "reid", re-identification from several modalities."""

    instances: int = 4  # images of each identity in a batch
    identity_weight: float = 0.25  # of the cross-entropy of every score
    triplet_weight: float = 1.0  # of the triplet loss of every feature
    triplet_margin: float = 0.0  # 0: soft margin
    direct_only_epochs: float = 0.0  # at first, nothing but the direct branch learns
    feature: str = "concat"  # direct | fused | concat: what retrieval goes by
    rerank: bool = False  # the final evaluation also with k-reciprocal re-ranking
    missing_modalities: bool = True  # and with one or two modalities left out
    backbone_learning_rate: float = 5e-6  # its peak; optimizer.learning_rate: the rest
    bias_factor: float = 2.0  # times the rate, of biases outside the backbone
    large_classifier: bool = False  # classifiers at twice the rate
    freeze_backbone: bool = False
    backbone_from: str = ""  # a converted backbone to start from
    warmup_start: str = "own"  # own: a tenth of each group's rate | recorded: of one
    learning_rate_noise: bool = False  # recorded: a random factor every epoch
    aligned_augmentation: bool = True  # one draw for all modalities of a sample
    flip: float = 0.5  # probability
    crop_padding: int = 10  # pixels
    random_erasing: float = 0.5  # probability


@dataclasses.dataclass(frozen=True)
class Observation:
    """`observation`: what a run says of its own running (docs/observability.md)."""

    profile_after: int = 10  # steps of this start before those that `profile` traces
    profile_steps: int = 5
    input_wait_warning: float = 0.2  # warn if data costs a larger share of the time
    stalled_seconds: float = 30.0  # say so when no batch comes for so long; 0: never


@dataclasses.dataclass(frozen=True)
class Cluster:
    """`cluster`: of `distributed`, where the processes meet (docs/clusters.md).

    What is left alone a TPU pod, SLURM, Open MPI or Kubernetes says, or else the
    environment: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID.
    """

    coordinator_address: str = ""  # host:port, a free port of process 0's host
    num_processes: int = 0
    process_id: int = -1  # 0, 1, ...: of this process
    join_seconds: int = 300  # how long a process waits for the others
    heartbeat_seconds: int = 100  # silent for so long, a process counts as dead


@dataclasses.dataclass(frozen=True)
class Settings:
    """A run."""

    task: str = "classification"  # classification | pruning | routing | reid
    seed: int = 0
    batch_size: int = 64  # global: over all devices
    epochs: float = 100.0
    steps: int = 0  # instead of epochs, if above 0
    label_smoothing: float = 0.0
    gradient_accumulation: int = 1  # a step's batch in so many parts
    gradient_clip: float = 0.0  # global L2 norm; 0: off
    ema_decay: float = 0.0  # of the parameters that are evaluated; 0: off
    distributed: bool = False  # one of several processes, see `cluster`
    fsdp: bool = False  # parameters and optimiser state split over the devices
    init_from: str = ""  # a converted checkpoint or another run's workdir
    log_every_steps: int = 20
    profile: bool = False  # trace some steps into workdir/profile
    figures: bool = True  # drawn after the final evaluation
    evaluate_every_epochs: float = 10.0
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    checkpoint: Checkpoint = Checkpoint()
    cluster: Cluster = Cluster()
    observation: Observation = Observation()
    imbalance: Imbalance = Imbalance()
    distillation: Distillation = Distillation()
    routing: Routing = Routing()
    reid: Reid = Reid()
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    model: dict[str, Any] = dataclasses.field(default_factory=lambda: {"name": "vdpa"})
    data: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"source": "digits"}
    )
    ablation: dict[str, Any] = dataclasses.field(default_factory=dict)  # study.grid's
    compare: dict[str, str] = dataclasses.field(
        default_factory=dict
    )  # of eval.py --eval_all: name -> variant

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Settings":
        """Raises: UserError for an unknown key or a value out of range."""
        config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        check_plain(config)
        settings = _from_mapping(cls, config, "")
        for wrong, sentence in [*_problems(settings), *limit_problems(settings)]:
            if wrong:
                raise UserError(f"config: {sentence}")
        return settings

    def total_steps(self, num_examples: int) -> int:
        """Optimiser steps of the run.

        Raises: UserError for more than can be counted.
        """
        steps = self.steps or max(1, self.in_steps(self.epochs, num_examples))
        if not self.steps and steps >= LARGEST_COUNT:
            raise UserError(
                f"config: {self.epochs:g} epochs are {LARGEST_COUNT} steps or more"
            )
        return steps

    def in_steps(self, epochs: float, num_examples: int) -> int:
        """Epochs as a whole number of optimiser steps."""
        return round(min(epochs * num_examples / self.batch_size, LARGEST_COUNT))


def default_config() -> Any:
    """The defaults as an ml_collections ConfigDict, for a config file to change."""
    import ml_collections

    return ml_collections.ConfigDict(dataclasses.asdict(Settings()))


def select_variant(variants: Mapping[str, Callable[[], Any]], name: str) -> Any:
    """The configuration of that name.

    Raises: UserError for an unknown name, listing the valid ones.
    """
    if name not in variants:
        raise UserError(unknown_name("variant", name, variants))
    return variants[name]()


def _from_mapping(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    """Fills a settings class; a section is a settings class of its own."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            kind = f"configuration key{f' in {where}' if where else ''}"
            raise UserError(unknown_name(kind, key, fields))
        expected: Any = fields[key].type
        if dataclasses.is_dataclass(expected) and not isinstance(value, Mapping):
            raise UserError(f"config: {key} must be a section, got {value!r}")
        if expected is Augmentation:
            arguments[key] = Augmentation.from_config(value)
        elif dataclasses.is_dataclass(expected):
            arguments[key] = _from_mapping(expected, value, key)
        else:
            arguments[key] = _checked(value, expected, f"{where}.{key}".lstrip("."))
    return cls(**arguments)


def _checked(value: Any, expected: Any, where: str) -> Any:
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    origin = getattr(expected, "__origin__", expected)
    if origin is tuple and isinstance(value, list):  # as config.json has it
        value = tuple(value)
    if origin is tuple and isinstance(value, tuple):
        item = expected.__args__[0]
        return tuple(_checked(each, item, where) for each in value)
    if not isinstance(value, origin) or (expected is int and isinstance(value, bool)):
        raise UserError(f"config: {where} must be {origin.__name__}, got {value!r}")
    return value


def _problems(s: Settings) -> list[tuple[bool, str]]:
    """What is out of range, as (wrong, sentence)."""

    def choice(value: str, valid: tuple[str, ...], key: str) -> tuple[bool, str]:
        return value not in valid, f"{key} must be one of {valid}, got {value!r}"

    def at_least(value: float, minimum: float, key: str) -> tuple[bool, str]:
        return not value >= minimum, f"{key} must be at least {minimum:g}, got {value}"

    optimizer, schedule, checkpoint = s.optimizer, s.schedule, s.checkpoint
    imbalance, distillation = s.imbalance, s.distillation
    return [
        choice(s.task, ("classification", "pruning", "routing", "reid"), "task"),
        (
            s.task != "pruning" and distillation != Distillation(),
            'distillation is read by task "pruning" alone',
        ),
        (
            s.task != "routing" and s.routing != Routing(),
            'routing is read by task "routing" alone',
        ),
        (
            s.task != "reid" and s.reid != Reid(),
            'reid is read by task "reid" alone',
        ),
        *_reid_problems(s, choice, at_least),
        (
            not 0 <= s.routing.start_ratio <= 1,
            "routing.start_ratio is a share, within [0, 1]",
        ),
        at_least(s.routing.start_temperature, 0, "routing.start_temperature"),
        at_least(s.routing.anneal_from_epochs, 0, "routing.anneal_from_epochs"),
        (
            0 < s.routing.anneal_to_epochs < s.routing.anneal_from_epochs,
            "routing.anneal_to_epochs must not be before routing.anneal_from_epochs",
        ),
        choice(
            imbalance.profile, ("none", "linear", "exponential"), "imbalance.profile"
        ),
        choice(
            imbalance.class_weights,
            ("none", "inverse_frequency"),
            "imbalance.class_weights",
        ),
        choice(imbalance.sampler, ("shuffle", "weighted"), "imbalance.sampler"),
        at_least(imbalance.logit_adjustment, 0, "imbalance.logit_adjustment"),
        at_least(imbalance.seed, 0, "imbalance.seed"),
        at_least(imbalance.many_shot, imbalance.few_shot, "imbalance.many_shot"),
        at_least(distillation.teacher_epochs, 0, "distillation.teacher_epochs"),
        at_least(
            distillation.teacher_learning_rate, 0, "distillation.teacher_learning_rate"
        ),
        at_least(distillation.logit_weight, 0, "distillation.logit_weight"),
        at_least(distillation.token_weight, 0, "distillation.token_weight"),
        choice(
            optimizer.name,
            ("adamw", "adam", "sgd", "momentum", "muon"),
            "optimizer.name",
        ),
        choice(optimizer.decay, ("matrices", "all"), "optimizer.decay"),
        choice(
            schedule.name, ("cosine", "step", "multistep", "constant"), "schedule.name"
        ),
        choice(checkpoint.evaluate, ("last", "best"), "checkpoint.evaluate"),
        at_least(s.batch_size, 1, "batch_size"),
        at_least(s.gradient_accumulation, 1, "gradient_accumulation"),
        at_least(s.log_every_steps, 1, "log_every_steps"),
        at_least(checkpoint.keep, 1, "checkpoint.keep"),
        at_least(checkpoint.every_steps, 0, "checkpoint.every_steps"),
        (
            not s.distributed and s.cluster != Cluster(),
            "cluster is read with distributed=True alone",
        ),
        at_least(s.cluster.num_processes, 0, "cluster.num_processes"),
        at_least(s.cluster.process_id, -1, "cluster.process_id"),
        at_least(s.cluster.join_seconds, 1, "cluster.join_seconds"),
        at_least(s.cluster.heartbeat_seconds, 1, "cluster.heartbeat_seconds"),
        at_least(s.observation.profile_after, 0, "observation.profile_after"),
        at_least(s.observation.profile_steps, 1, "observation.profile_steps"),
        at_least(s.observation.stalled_seconds, 0, "observation.stalled_seconds"),
        at_least(s.observation.input_wait_warning, 0, "observation.input_wait_warning"),
        at_least(s.steps, 0, "steps"),
        at_least(s.gradient_clip, 0, "gradient_clip"),
        at_least(optimizer.learning_rate, 0, "optimizer.learning_rate"),
        at_least(optimizer.weight_decay, 0, "optimizer.weight_decay"),
        at_least(schedule.warmup_epochs, 0, "schedule.warmup_epochs"),
        at_least(schedule.step_epochs, 1e-6, "schedule.step_epochs"),
        at_least(s.epochs, 0, "epochs"),
        (s.epochs <= 0 and s.steps <= 0, "epochs or steps must be above 0"),
        (s.evaluate_every_epochs <= 0, "evaluate_every_epochs must be above 0"),
        (checkpoint.every_epochs <= 0, "checkpoint.every_epochs must be above 0"),
        (not 0 <= s.label_smoothing < 1, "label_smoothing must be within [0, 1)"),
        (not 0 <= s.ema_decay < 1, "ema_decay must be within [0, 1)"),
        ("name" not in s.model, "model.name is missing"),
    ]


def _reid_problems(s: Settings, choice: Callable, at_least: Callable) -> list[tuple]:
    """Those of the section `reid`, and what its task does not read."""
    reid, name = s.reid, "optimizer.name"
    features, starts = ("direct", "fused", "concat"), ("own", "recorded")
    problems = [
        choice(reid.feature, features, "reid.feature"),
        choice(reid.warmup_start, starts, "reid.warmup_start"),
        at_least(reid.instances, 2, "reid.instances"),
        at_least(reid.triplet_margin, 0, "reid.triplet_margin"),
        at_least(reid.direct_only_epochs, 0, "reid.direct_only_epochs"),
        at_least(reid.crop_padding, 0, "reid.crop_padding"),
        (not 0 <= reid.flip <= 1, "reid.flip is a probability"),
        (not 0 <= reid.random_erasing <= 1, "reid.random_erasing is a probability"),
    ]
    if s.task != "reid":
        return problems
    return [
        *problems,
        choice(s.optimizer.name, ("adam", "adamw", "momentum"), name),
        choice(s.schedule.name, ("cosine",), "schedule.name"),
        (
            bool(s.batch_size % reid.instances),
            f"batch_size must be a multiple of reid.instances {reid.instances}",
        ),
        (
            s.gradient_accumulation > 1,
            "gradient_accumulation would cut the triplet loss's batch into parts",
        ),
        (
            s.imbalance != Imbalance() or s.augmentation != Augmentation(),
            'task "reid" has augmentations of its own in reid, and no imbalance',
        ),
    ]
