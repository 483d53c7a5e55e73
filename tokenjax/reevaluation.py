"""Weights evaluated again: held to their card, on their own data or on other.

A run is evaluated at its end by the loop; this is for a run's directory, or a converted
checkpoint, at any later time.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from flax.typing import VariableDict

from tokenjax import at_inference, models, paths, provenance, reduced_weights
from tokenjax.building import Experiment, build
from tokenjax.card import Card
from tokenjax.errors import UserError
from tokenjax.evaluation.predictions import check_format
from tokenjax.models import contract
from tokenjax.training.checkpoints import Weights, load_weights
from tokenjax.training.distribution import cluster, devices
from tokenjax.training.evaluate import final_evaluation
from tokenjax.training.initialize import check_variables
from tokenjax.training.observation.progress import warn
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import TASKS

REDUCTION = "reduction"  # of the models that take one
OF_LEARNING = ("optimizer", "distillation", "shrinking")  # sections of the settings


def evaluate(
    config: Any,
    source: pathlib.Path,
    split_name: str,
    output: pathlib.Path,
    changes: Sequence[str] = (),
    predictions: pathlib.Path | None = None,
    reduction: str = "",
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
      reduction: of the model's tokens, in place of the weights' own; "": that one.

    Raises: UserError, with what differs.
    """
    source, output = paths.resolve(source, "source"), paths.resolve(output, "output")
    with cluster.member(Settings.from_config(config)):
        if predictions is not None:
            _check_predictions(predictions, config.task)
        opened = open_weights(config, source, split_name, changes, reduction)
        return _evaluate(opened, split_name, output, predictions)


def _evaluate(
    opened: "Opened",
    split_name: str,
    output: pathlib.Path,
    predictions: pathlib.Path | None,
) -> dict[str, Any]:
    settings, task = opened.built.settings, opened.built.task
    mesh = devices.make_mesh(settings)
    variables = jax.device_put(opened.weights.variables, devices.replicated(mesh))
    output.mkdir(parents=True, exist_ok=True)
    return final_evaluation(
        task,
        variables,
        split_name,
        opened.built.dataset.split(split_name),
        settings.batch_size,
        mesh,
        output,
        settings.figures,
        of=opened.of,
        predictions=predictions,
        step=opened.weights.step,
        checkpoint=settings.checkpoint.evaluate,
    )


class Opened(NamedTuple):
    """Weights, and the experiment that they are evaluated by.

    `of` names what differs from the run's own evaluation, "" if nothing does: other
    data, changed arguments.
    """

    weights: Weights
    built: Experiment
    of: str


def open_weights(
    config: Any,
    source: pathlib.Path,
    split_name: str,
    changes: Sequence[str] = (),
    reduction: str = "",
) -> Opened:
    """Read weights and build what evaluates them; arguments as those of `evaluate`.

    Raises: UserError, with what differs.
    """
    weights = load_weights(source, config.checkpoint.evaluate)
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
    if reduction:
        config = config.copy_and_resolve_references()
        with config.unlocked():
            config.model.reduction = reduction
            # Nothing learns here; what is said of how the trained one did need not
            # hold of this one.
            config.task = TASKS[config.task].evaluates_as or config.task
            for name in set(OF_LEARNING) & set(config):
                config[name].update(dataclasses.asdict(getattr(Settings(), name)))
    built = build(config, classes=classes, splits=(split_name,))
    if card is not None:
        changes = _with_reduction(card, built, changes, bool(reduction))
        weights = _fitted(weights, card, built, changes)
        names = _refuse_other_use(source, card, weights.variables, built, changes)
        if not provenance.is_own_split(card, built.dataset, split_name):
            name = built.dataset.info.name
            names.append(name)
            warn(
                f"the {split_name} images of {name} are not those that {source} keeps "
                "for this: some may be among those that it was trained on"
            )
    expected = jax.eval_shape(built.task.init, jax.random.key(0))
    check_variables(expected, weights.variables)
    return Opened(weights, built, "-".join(names))


def _with_reduction(
    card: Card, built: Experiment, changes: Sequence[str], given: bool
) -> Sequence[str]:
    """Return the changes that are meant, that of a reduction which is given among them.

    It says itself that another is meant, and may be what the weights have.
    """
    differing = provenance.model_differences(card, built.task.model)
    if given and REDUCTION in differing and REDUCTION not in changes:
        return [*changes, REDUCTION]
    return changes


def _fitted(
    weights: Weights, card: Card, built: Experiment, changes: Sequence[str]
) -> Weights:
    """Return the weights for the reduction that is meant.

    Raises: UserError for one that needs weights which these lack.
    """
    if REDUCTION not in changes:
        return weights
    trained = provenance.create_model(card)
    fitted = reduced_weights.fit(weights.variables, trained, built.task.model)
    return weights._replace(variables=fitted)


def _check_predictions(path: pathlib.Path, task: str) -> None:
    """Raise UserError for a file of predictions that could not be written."""
    formats = TASKS[task].prediction_formats
    if not formats:
        raise UserError(f"--predictions: task {task} writes no file of predictions")
    check_format(path, "predictions", formats, f" for task {task}")


def _refuse_other_use(
    source: pathlib.Path,
    card: Card,
    variables: VariableDict,
    built: Experiment,
    changes: Sequence[str],
) -> list[str]:
    """Return the changes that are meant: "pruning=none".

    Raises: UserError, with what else differs, unless weights are used as they were
      made.
    """
    settings, model = built.settings, built.task.model
    differing = provenance.model_differences(card, model)
    learned = _learned_differences(differing, variables, card, model)
    unchanged = [key for key in changes if key not in differing]
    meant = [key for key in changes if key in differing and key not in learned]
    differences = [
        each
        for key, each in differing.items()
        if key not in meant and key not in learned
    ]
    if differences:
        differences[-1] += " (--changes=ARGUMENT, if that is meant)"
    differences += learned.values()
    if card.task is not None and settings.task not in _tasks_of(card.task):
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
    if meant:
        others = [key for key in meant if key != REDUCTION]
        _say_idle(card, model, variables, others)
    values = models.values(model)
    return [f"{key}={values[key]}" for key in meant]


def _tasks_of(task: str) -> tuple[str, ...]:
    """Return the tasks that evaluate what was trained by this one."""
    return (task, TASKS[task].evaluates_as) if task in TASKS else (task,)


def _learned_differences(
    differing: Mapping[str, str],
    variables: VariableDict,
    card: Card,
    model: contract.Model,
) -> dict[str, str]:
    """Return what is to be said where trained parameters stand for what is given.

    By the argument's name; whether the change is meant makes no difference.
    """
    values = models.values(model)
    learned = at_inference.learned_arguments(provenance.create_model(card))
    return {
        key: f"{differing[key]}, would change nothing: it is where training started, "
        f"and what was learned is {float(each.value(variables)):.4g} "
        f"(--sweep {key}={values[key]} puts another in its place)"
        for key, each in learned.items()
        if key in differing
    }


def _say_idle(
    card: Card, model: contract.Model, variables: VariableDict, meant: Sequence[str]
) -> None:
    """Warn of changes that are meant and change nothing."""
    trained = provenance.create_model(card)
    if type(trained) is not type(model):
        return
    before, arguments = models.values(trained), models.arguments(card.model["name"])
    inference = at_inference.Inference(model, variables)
    for key in meant:
        other = model.clone(**{key: getattr(trained, key)})  # type: ignore[attr-defined]
        if not inference.differs(
            at_inference.Inference(other, variables), arguments[key]
        ):
            warn(
                f"model.{key} does not act at inference: the predictions are those of "
                f"the weights' own {before[key]}"
            )
