"""From a configuration to a model, its data and its task, for train.py and eval.py.

Only here do models and training meet.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from tokenjax import configuration, data, models, paths, storage
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.training import going_on, loop
from tokenjax.training.checkpoints import has_begun, load_initial_variables
from tokenjax.training.distribution import cluster, devices
from tokenjax.training.evaluate import final_evaluation
from tokenjax.training.initialize import check_variables
from tokenjax.training.observation.progress import say
from tokenjax.training.settings import Distillation, Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.tasks.task import Summary, Task
from tokenjax.training.workdir import claim_workdir, compare_workdir, held

TEACHER = "teacher"  # below the workdir of a pruning run


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a configuration describes, built."""

    settings: Settings
    dataset: data.Dataset
    task: Task


def build(config: Any, teacher: pathlib.Path | None = None) -> Experiment:
    """Check the configuration, join a cluster if asked, load data, build the model.

    `teacher` is where a task that takes one finds its own, needed to start a run.

    Raises: UserError.
    """
    settings = Settings.from_config(config)
    cluster.join(settings)
    # The quick mistakes first, before any data is loaded or a file written.
    models.argument_names(settings.model["name"])
    devices.make_mesh(settings)
    dataset = data.load(settings.data)
    for name in ("train", "validation", "test"):
        if not len(dataset.split(name)):
            raise UserError(
                f"the {name} split of {dataset.info.name} holds no examples"
            )
    thinning = settings.imbalance
    if thinning.profile != "none":
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
    built = build(config, teacher)

    def claim(step: int) -> None:
        _check_going_on(built, earlier, hyperparameters, step)
        claim_workdir(workdir, hyperparameters)

    if built.task.takes_teacher and not given and not begun:
        if not (teacher / "evaluation.json").exists():
            say(f"first its teacher, the same network unpruned, in {teacher}")
            if _train(teacher_config(config, built.task.model), teacher) is None:
                return None
        say(f"now the network that prunes, in {workdir}")
    summary = loop.train(
        built.settings, built.task, built.dataset, workdir, hyperparameters, claim
    )
    measured = teacher / "evaluation.json"
    if summary is not None and built.task.takes_teacher and measured.exists():
        return {**summary, "teacher_top1": storage.read_json(measured)["top1"]}
    return summary


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
    config: Any, source: pathlib.Path, split_name: str, output: pathlib.Path
) -> dict[str, Any]:
    """Evaluate a run's workdir or a converted checkpoint on one split.

    Writes evaluation.json and figures below `output`.

    Raises: UserError.
    """
    source, output = paths.resolve(source, "source"), paths.resolve(output, "output")
    with cluster.member(Settings.from_config(config)):
        return _evaluate(config, source, split_name, output)


def _evaluate(
    config: Any, source: pathlib.Path, split_name: str, output: pathlib.Path
) -> dict[str, Any]:
    settings = Settings.from_config(config)
    which = settings.checkpoint.evaluate
    variables = load_initial_variables(source, which)
    built = build(config)
    split = built.dataset.split(split_name)
    mesh = devices.make_mesh(settings)
    expected = jax.eval_shape(built.task.init, jax.random.key(0))
    check_variables(expected, variables)
    variables = jax.device_put(variables, devices.replicated(mesh))
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
        checkpoint=which,
    )
