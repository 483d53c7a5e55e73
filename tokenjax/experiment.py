"""Experiments: `train` what a configuration describes, `evaluate` it again.

From Python, notebooks and commands alike; see docs/train.md.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from flax.typing import VariableDict

from tokenjax import card as cards
from tokenjax import configuration, data, paths, provenance, storage
from tokenjax.building import Experiment, build, create_model, make_task
from tokenjax.card import Card
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.reevaluation import evaluate
from tokenjax.starting_backbone import start_with_backbone
from tokenjax.starting_weights import (
    read_given_card,
    refuse_other_teacher,
    start_from,
)
from tokenjax.training import going_on, loop
from tokenjax.training.checkpoints import has_begun
from tokenjax.training.distribution import cluster
from tokenjax.training.observation.progress import say
from tokenjax.training.settings import Distillation, Optimizer, Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.tasks.task import Summary
from tokenjax.training.workdir import (
    changed_free_data_keys,
    claim_workdir,
    compare_workdir,
    held,
)

__all__ = [
    "Experiment",
    "build",
    "create_model",
    "evaluate",
    "headline",
    "make_task",
    "teacher_config",
    "train",
]

TEACHER = "teacher"  # below the workdir of a pruning run
KEPT = "train_indices.txt"  # in the workdir of a run on a thinned training split


def headline(config: Any, summary: Summary) -> list[str]:
    """Return the lines that say first what an evaluation of a configuration found."""
    return TASKS[config.task].headline(summary)


def train(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    """Train what a configuration describes, from where its workdir stands.

    A pruning run without a teacher first trains one, in workdir/teacher.

    Returns: the final evaluation, or None if a signal stopped the run.

    Raises: UserError.
    """
    workdir = paths.resolve(workdir, "workdir")
    with cluster.member(Settings.from_config(config)):
        return _train(config, workdir)


def _train(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    with held(workdir):
        return _train_alone(config, workdir)


def _train_alone(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    settings = Settings.from_config(config)
    hyperparameters = configuration.completed(config.to_dict())
    earlier = compare_workdir(workdir, hyperparameters, configuration.completed)
    begun = has_begun(workdir)
    given = settings.distillation.teacher
    teacher = paths.resolve(given or workdir / TEACHER, "config: distillation.teacher")
    if given and not begun and not teacher.is_dir():
        raise UserError(f"config: distillation.teacher: no directory {given}")
    described = cards.read(workdir) if begun else None
    config = _with_preprocessing(config, described, begun)
    built = build(config, teacher)
    if described is not None:
        _refuse_other_data(workdir, described, built.dataset, hyperparameters)
    card = provenance.describe(hyperparameters, built.dataset, built.task.model)

    def claim(step: int) -> None:
        _check_going_on(built, earlier, hyperparameters, step)
        claim_workdir(workdir, hyperparameters, card)
        _write_kept(built, workdir)

    if built.task.takes_teacher and not given and not begun:
        if not (teacher / "evaluation.json").exists():
            say(f"first its teacher, the same network unpruned, in {teacher}")
            if _train(teacher_config(config, built.task.model), teacher) is None:
                return None
        say(f"now the network that prunes, in {workdir}")
    elif given and not begun and isinstance(built.task.model, contract.Prunes):
        info = built.dataset.info
        refuse_other_teacher(teacher, settings, built.task.model, info)
    summary = loop.train(
        built.settings,
        built.task,
        built.dataset,
        workdir,
        hyperparameters,
        claim,
        card,
        functools.partial(_take_weights, built) if _takes_weights(settings) else None,
    )
    measured = teacher / "evaluation.json"
    if summary is not None and built.task.takes_teacher and measured.exists():
        return {**summary, "teacher_top1": storage.read_json(measured)["top1"]}
    return summary


def _write_kept(built: Experiment, workdir: pathlib.Path) -> None:
    """List in the workdir which training examples of the source a thinned run has."""
    if built.kept is None or jax.process_index() > 0:
        return
    info, thinning = built.dataset.info, built.settings.imbalance
    origin = thinning.indices or f"{thinning.profile}, seed {thinning.seed}"
    remarks = (
        f"{info.name}: training examples kept, by number in the source ({origin})",
        f"of each class {', '.join(map(str, info.counts['train'].tolist()))}",
    )
    data.write_indices(workdir / KEPT, built.kept, remarks)


def _takes_weights(settings: Settings) -> bool:
    return bool(settings.init_from or settings.reid.backbone_from)


def _take_weights(built: Experiment, own: VariableDict) -> VariableDict:
    """Return a new run's variables with the weights that its settings name.

    Raises: UserError for weights of another network.
    """
    settings, model = built.settings, built.task.model
    if settings.init_from:
        own = start_from(own, settings, model, built.dataset.info)
    if settings.reid.backbone_from:
        own = start_with_backbone(own, model, settings.reid.backbone_from)
    return own


def _with_preprocessing(config: Any, own: Card | None, begun: bool) -> Any:
    """Return the configuration with what `data` leaves open as the weights have it.

    Args:
      config: of the run.
      own: the run's card, None before it has one.
      begun: whether it has weights of its own, and looks at no others.

    Raises: UserError.
    """
    card = own if begun else read_given_card(config)
    return config if card is None else provenance.adopt(config, card)


def _refuse_other_data(
    workdir: pathlib.Path,
    begun: Card,
    dataset: data.Dataset,
    config: Mapping[str, Any],
) -> None:
    """Raise UserError unless a run that goes on finds the data it was begun on."""
    differences = provenance.data_differences(begun, dataset)
    if differences:
        differences += changed_free_data_keys(begun.config or {}, config)
        raise UserError(
            f"{workdir} holds a run on other data ({'; '.join(differences)}): images "
            "that it was trained on could turn up in its test; give it the data it "
            "was begun on, or name another --workdir"
        )


def _check_going_on(
    built: Experiment,
    earlier: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    step: int,
) -> None:
    """Say what is new to a run that goes on from a step.

    Raises: UserError if it would be shorter than it is already.
    """
    settings, dataset = built.settings, built.dataset
    examples = len(dataset.train)
    going_on.check_length(settings, step, examples)
    if earlier is None or step == 0:
        return
    for sentence in going_on.describe_unread(earlier, config):
        say(sentence)
    before = going_on.had_length(settings, earlier)
    lengths = [each.total_steps(examples) for each in (before, settings)]
    if lengths[0] != lengths[1]:
        earlier_task = make_task(before, dataset, built.task.teacher)
        rates = [task.optimizer()[1] for task in (earlier_task, built.task)]
        say(going_on.describe_length(step, lengths, rates))


def teacher_config(config: Any, model: contract.Model) -> Any:
    """Return the run that makes a pruning run's teacher: the same network, unpruned."""
    teacher = config.copy_and_resolve_references()
    own = config.distillation
    with teacher.unlocked():
        teacher.task = "classification"
        if isinstance(model, contract.Prunes):
            teacher.model.update(model.unpruned_arguments())
        if own.teacher_epochs:
            teacher.epochs, teacher.steps = own.teacher_epochs, 0
        alike = Optimizer()  # it has nothing that judges tokens
        teacher.optimizer.network_rate = alike.network_rate
        teacher.optimizer.network_after_epochs = alike.network_after_epochs
        if own.teacher_learning_rate:
            teacher.optimizer.learning_rate = own.teacher_learning_rate
        teacher.distillation = type(config)(dataclasses.asdict(Distillation()))
    return teacher
