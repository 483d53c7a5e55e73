"""From a configuration to a model, its data and its task, for train.py and eval.py.

Only here do models and training meet.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.typing import VariableDict

from tokenjax import card as cards
from tokenjax import configuration, data, models, paths, provenance, storage
from tokenjax.card import Card
from tokenjax.errors import UserError
from tokenjax.evaluation.predictions import check_format
from tokenjax.models import contract
from tokenjax.provenance import SPLITS
from tokenjax.starting_backbone import start_with_backbone
from tokenjax.starting_weights import (
    read_given_card,
    refuse_other_teacher,
    start_from,
)
from tokenjax.training import going_on, loop
from tokenjax.training.checkpoints import has_begun, load_weights
from tokenjax.training.distribution import cluster, devices
from tokenjax.training.evaluate import final_evaluation
from tokenjax.training.initialize import check_variables
from tokenjax.training.observation.progress import say, warn
from tokenjax.training.settings import Distillation, Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.tasks.task import Summary, Task
from tokenjax.training.workdir import (
    changed_free_data_keys,
    claim_workdir,
    compare_workdir,
    held,
)

TEACHER = "teacher"  # below the workdir of a pruning run


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a configuration describes, built."""

    settings: Settings
    dataset: data.Dataset
    task: Task


def build(
    config: Any,
    teacher: pathlib.Path | None = None,
    classes: Sequence[str] | None = None,
    splits: Sequence[str] = SPLITS,
) -> Experiment:
    """Check the configuration, join a cluster if asked, load data, build the model.

    Args:
      config: of a run.
      teacher: where a task that takes one finds its own, needed to start a run.
      classes: in the order of the network's scores; None: in the data's own.
      splits: that must hold examples.

    Raises: UserError.
    """
    settings = Settings.from_config(config)
    cluster.join(settings)
    # The quick mistakes first, before any data is loaded or a file written.
    models.argument_names(settings.model["name"])
    devices.make_mesh(settings)
    dataset = data.load(settings.data)
    if classes is not None:
        dataset = data.match_classes(dataset, classes)
    for name in splits:
        if not len(dataset.split(name)):
            raise UserError(
                f"the {name} split of {dataset.info.name} holds no examples"
            )
    thinning = settings.imbalance
    if thinning.profile != "none" and len(dataset.train):
        dataset = data.make_imbalanced(
            dataset, thinning.profile, thinning.ratio, thinning.seed
        )
    return Experiment(settings, dataset, make_task(settings, dataset, teacher))


def make_task(
    settings: Settings, dataset: data.Dataset, teacher: pathlib.Path | None = None
) -> Task:
    """Make the task of a configuration, with its model.

    Raises: UserError.
    """
    model = create_model(settings.model, dataset.info)
    return TASKS[settings.task](model, dataset, settings, teacher)


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
    described, config = _with_preprocessing(config, workdir)
    built = build(config, teacher)
    if described is not None and begun:
        _refuse_other_data(workdir, described, built.dataset, hyperparameters)
    card = provenance.describe(hyperparameters, built.dataset, built.task.model)

    def claim(step: int) -> None:
        _check_going_on(built, earlier, hyperparameters, step)
        claim_workdir(workdir, hyperparameters, card)

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


def _with_preprocessing(config: Any, workdir: pathlib.Path) -> tuple[Card | None, Any]:
    """Return the card of a run that was begun, and the configuration completed by it.

    What `data` leaves open is as in the run so far; in a new run that starts from given
    weights, as these have it.

    Raises: UserError.
    """
    begun = cards.read(workdir)
    if begun is not None:
        return begun, provenance.adopt(config, begun)
    given = read_given_card(config)
    return None, config if given is None else provenance.adopt(config, given)


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
        if own.teacher_learning_rate:
            teacher.optimizer.learning_rate = own.teacher_learning_rate
        teacher.distillation = type(config)(dataclasses.asdict(Distillation()))
    return teacher


def create_model(model_config: Mapping[str, Any], info: data.DatasetInfo) -> nn.Module:
    """Build the named model; what its arguments leave out follows from the data.

    Raises: UserError if a size that is given contradicts the data.
    """
    given = {key: value for key, value in model_config.items() if value is not None}
    name = given.pop("name")
    for argument in models.arguments(name).values():
        if not argument.from_data:
            continue
        value = _find_in_data(argument.from_data, info, name)
        if value is None:
            continue
        if given.setdefault(argument.name, value) != value:
            raise UserError(
                f"config: model.{argument.name} is {given[argument.name]}, but "
                f"{info.name} has {value}"
            )
    return models.create(name, **given)


def _find_in_data(what: str, info: data.DatasetInfo, name: str) -> Any:
    """Return what an argument follows from (`arguments.FromData`), None if nothing.

    Raises: UserError for images that are not square where the model takes no others.
    """
    height, width, channels = info.image_shape
    if what == "side" and height != width:
        raise UserError(f"{name} takes square images; {info.name} has {height}x{width}")
    found: dict[str, Any] = {
        "side": height,
        "channels": channels,
        "classes": info.num_classes,
    }
    if isinstance(info, data.ReidInfo):
        found |= {
            "size": (height, width),
            "cameras": info.num_cameras,
            "modalities": info.modalities,
        }
    return found.get(what)


def evaluate(
    config: Any,
    source: pathlib.Path,
    split_name: str,
    output: pathlib.Path,
    changes: Sequence[str] = (),
    predictions: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Evaluate a run's workdir or a converted checkpoint on one split.

    Its card says what the network is, how images are prepared and what the classes are
    called; the configuration must agree, but may name other data.

    Writes evaluation.json and figures below `output`; of other data than the run's own,
    or with changes, into files that are called after these.

    Args:
      config: of the run, see `configuration.read_directory`.
      source: a run's workdir or a converted checkpoint.
      split_name: "test", "validation" or "train".
      output: a directory.
      changes: names of model arguments that are meant to be others than the weights'.
      predictions: a file to write every example's prediction to.

    Raises: UserError, with what differs.
    """
    source, output = paths.resolve(source, "source"), paths.resolve(output, "output")
    with cluster.member(Settings.from_config(config)):
        return _evaluate(config, source, split_name, output, changes, predictions)


def _evaluate(
    config: Any,
    source: pathlib.Path,
    split_name: str,
    output: pathlib.Path,
    changes: Sequence[str],
    predictions: pathlib.Path | None,
) -> dict[str, Any]:
    if predictions is not None:
        _check_predictions(predictions, config.task)
    which = config.checkpoint.evaluate
    weights = load_weights(source, which)
    card, classes = weights.card, None
    names: list[str] = []  # of the report's files
    if card is None:
        warn(
            f"{source} has no card, as before there were any: whether the model's "
            "settings, the classes and the images are those of its training is not "
            "checked"
        )
    else:
        config, classes = provenance.adopt(config, card), card.classes
    built = build(config, classes=classes, splits=(split_name,))
    if card is not None:
        names = _refuse_other_use(source, card, built, changes)
        if not provenance.is_own_split(card, built.dataset, split_name):
            name = built.dataset.info.name
            names.append(name)
            warn(
                f"the {split_name} images of {name} are not those that {source} keeps "
                "for this: some may be among those that it was trained on"
            )
    settings = built.settings
    split = built.dataset.split(split_name)
    mesh = devices.make_mesh(settings)
    expected = jax.eval_shape(built.task.init, jax.random.key(0))
    check_variables(expected, weights.variables)
    variables = jax.device_put(weights.variables, devices.replicated(mesh))
    output.mkdir(parents=True, exist_ok=True)
    return final_evaluation(
        built.task,
        variables,
        split_name,
        split,
        settings.batch_size,
        mesh,
        output,
        settings.figures,
        of="-".join(names),
        predictions=predictions,
        step=weights.step,
        checkpoint=which,
    )


def _check_predictions(path: pathlib.Path, task: str) -> None:
    """Raise UserError for a file of predictions that could not be written."""
    formats = TASKS[task].prediction_formats
    if not formats:
        raise UserError(f"--predictions: task {task} writes no file of predictions")
    check_format(path, "predictions", formats, f" for task {task}")


def _refuse_other_use(
    source: pathlib.Path, card: Card, built: Experiment, changes: Sequence[str]
) -> list[str]:
    """Return the changes that are meant: "pruning=none".

    Raises: UserError, with what else differs, unless weights are used as they were
      made.
    """
    settings, model = built.settings, built.task.model
    differing = provenance.model_differences(card, model)
    unchanged = [key for key in changes if key not in differing]
    meant = [key for key in changes if key in differing]
    differences = [each for key, each in differing.items() if key not in meant]
    if differences:
        differences[-1] += " (--changes=ARGUMENT, if that is meant)"
    if card.task is not None and card.task != settings.task:
        differences.append(f"task {card.task!r}, not {settings.task!r}")
    differences += provenance.image_differences(
        card, built.dataset.info, settings.data["source"]
    )
    differences += provenance.division_differences(card, settings.data)
    if differences:
        raise UserError(
            f"{source} was trained otherwise than it is to be evaluated: "
            f"{'; '.join(differences)}"
        )
    if unchanged:
        raise UserError(
            f"--changes={','.join(unchanged)}: as the weights have it; give another "
            f"value with --config.model.{unchanged[0]}=VALUE"
        )
    values = models.values(model)
    return [f"{key}={values[key]}" for key in meant]
