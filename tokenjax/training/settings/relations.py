"""What settings must be to each other; what each must be, its own annotation says."""

from collections.abc import Iterator

from tokenjax.data import Augmentation
from tokenjax.training.settings import sections
from tokenjax.training.settings.fields import FROM_WEIGHTS, Fields

# Sections that one task alone reads: a change in them would otherwise do nothing.
OF_TASK = {
    "distillation": "pruning",
    "routing": "routing",
    "shrinking": "shrinking",
    "reid": "reid",
}


def find_contradictions(settings: Fields) -> Iterator[str]:
    """Yield a sentence for each setting that does not fit the others."""
    s = settings
    for section, task in OF_TASK.items():
        changed = getattr(s, section) != type(getattr(s, section))()
        if s.task != task and changed:
            yield f'{section} is read by task "{task}" alone'
    if 0 < s.routing.anneal_to_epochs < s.routing.anneal_from_epochs:
        yield "routing.anneal_to_epochs must not be before routing.anneal_from_epochs"
    if s.imbalance.many_shot < s.imbalance.few_shot:
        yield (
            f"imbalance.many_shot must be at least few_shot {s.imbalance.few_shot}, "
            f"got {s.imbalance.many_shot}"
        )
    if s.imbalance.profile != "none" and s.imbalance.indices:
        yield (
            "imbalance.indices names the examples itself: leave imbalance.profile "
            '"none"'
        )
    thins = s.imbalance.profile != "none" or s.imbalance.indices
    if s.imbalance.validation != "source" and not thins:
        yield (
            "imbalance.validation takes examples that imbalance.profile or "
            "imbalance.indices leaves out, and neither is set"
        )
    if not s.distributed and s.cluster != sections.Cluster():
        yield "cluster is read with distributed=True alone"
    if not s.init_from and (s.init_head != "auto" or s.init_changes):
        yield "init_head and init_changes are read with init_from alone"
    if s.epochs <= 0 and s.steps <= 0:
        yield "epochs or steps must be above 0"
    name = s.model.get("name")
    if not name:
        yield "model.name is missing"
    elif not isinstance(name, str):
        yield "model.name must be text"
    elif name == FROM_WEIGHTS:
        yield (
            f'model.name "{FROM_WEIGHTS}" is the model of the weights that the run '
            "starts from: --config.init_from=DIR, a run or a converted checkpoint"
        )
    if s.task == "reid":
        yield from _find_reid_contradictions(s)


def _find_reid_contradictions(s: Fields) -> Iterator[str]:
    """Yield what task "reid" does not read, and what would break its batches."""
    rules = ("adam", "adamw", "momentum")
    if s.optimizer.name not in rules:
        yield (
            f'task "reid" takes optimizer.name {", ".join(rules)}, '
            f"got {s.optimizer.name!r}"
        )
    if s.schedule.name != "cosine":
        yield (
            'task "reid" has a schedule of its own, like schedule.name cosine, '
            f"got {s.schedule.name!r}"
        )
    if s.schedule.stepping != "step":
        yield 'task "reid" has a schedule of its own, without schedule.stepping'
    if s.batch_size % s.reid.instances:
        yield f"batch_size must be a multiple of reid.instances {s.reid.instances}"
    if s.evaluation_loss != "cross_entropy":
        yield 'task "reid" reports no loss of an evaluation: evaluation_loss'
    if s.optimizer.layer_decay != 1:
        yield 'task "reid" has rates of its own in reid, not optimizer.layer_decay'
    if s.optimizer.network_rate != 1 or s.optimizer.network_after_epochs:
        yield (
            'task "reid" has rates of its own in reid, not optimizer.network_rate or '
            "network_after_epochs"
        )
    if s.gradient_accumulation > 1:
        yield "gradient_accumulation would cut the triplet loss's batch into parts"
    if s.imbalance != sections.Imbalance() or s.augmentation != Augmentation():
        yield 'task "reid" has augmentations of its own in reid, and no imbalance'
