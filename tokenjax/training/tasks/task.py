"""What the loop and the evaluation ask of every task, with what most of them answer.

    from tokenjax.training.settings.choices import TASKS

    @TASKS.register("my_task")
    class MyTask(Classification): ...

adds one: `--config.task=my_task` then takes it.
"""

import abc
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.typing import VariableDict
from jax.sharding import Mesh

from tokenjax import data, plots
from tokenjax.data import Dataset, Split
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.training import inference, parameter_names
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.parameter_groups import Groups
from tokenjax.training.schedule import make_schedule
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch, Loss, Scalars, TrainState

Summary: TypeAlias = dict[str, Any]  # JSON-able
Outputs: TypeAlias = dict[str, np.ndarray]  # (examples, ...) by name
Looks: TypeAlias = dict[str, Any]  # arrays, or dicts of arrays by modality
Row: TypeAlias = Mapping[str, float | None]  # None: not a finite number
Predict: TypeAlias = Callable[[VariableDict, Batch], dict[str, jax.Array]]


class Shown(NamedTuple):
    """What a frame shows of some examples.

    Attributes:
      rows: of small pictures, one for each example.
      captions: above each example, () for none.
      right: whether they are right, which says their colour; () where none can be.
    """

    rows: list[plots.Row]
    captions: Sequence[str] = ()
    right: Sequence[bool] = ()


class Watch(NamedTuple):
    """What a model looks at on the same few examples, asked for again and again.

    Attributes:
      look: variables to what the model did; compiled once. With several processes all
        of them must call it.
      draw: what `look` gave, to be shown.
    """

    look: Callable[[VariableDict], Looks]
    draw: Callable[[Looks], Shown]


class Task(abc.ABC):
    """A model, a loss, an evaluation, and how the data is walked through.

    Attributes:
      best_metric: of `scalars`: the progress bar shows it, and the checkpoint with the
        largest is kept.
      takes_teacher: whether a run of the task starts from a trained network, which is
        trained first where the settings name none.
      evaluates_as: the task that evaluates its networks with another reduction of
        tokens than they were trained with; "": this one.
      prediction_formats: ends of the files that `write_predictions` writes.
    """

    best_metric: str
    takes_teacher: bool = False
    evaluates_as: str = ""
    prediction_formats: tuple[str, ...] = ()

    def __init__(
        self,
        model: contract.Model,
        dataset: Dataset,
        settings: Settings,
        teacher: pathlib.Path | None = None,
    ):
        """Raises: UserError for a model that is none of those we train.

        `teacher`: a workdir or converted checkpoint, for a task that takes one.
        """
        if not isinstance(model, contract.Model):
            raise UserError(
                f"{type(model).__name__} cannot be trained: a model has "
                "example_inputs(batch_size) and parameter_groups(), as "
                "tokenjax.models.contract says"
            )
        self.model = model
        self.info = dataset.info
        self.settings = settings
        self.teacher = teacher
        self.num_examples = len(dataset.train)
        self.sampling_weights = None
        if settings.imbalance.sampler == "weighted":
            self.sampling_weights = data.sampling_weights(dataset.train.labels)
        self._check_parameters()

    @abc.abstractmethod
    def init(self, key: jax.Array) -> VariableDict:
        """Return variables of a new model."""

    def init_frozen(self) -> optax.Params | None:
        """Return zeros of the structure of `TrainState.frozen`; None in most tasks."""
        return None

    def start(self, state: TrainState, sharding: jax.sharding.Sharding) -> TrainState:
        """Return a new run's state before its first step."""
        del sharding
        return state

    def parameter_groups(self) -> Groups:
        """Return the model's own."""
        return self.model.parameter_groups()

    def parameter_layers(self) -> contract.Layers:
        """Return the model's own, () if it has none."""
        if isinstance(self.model, contract.Layered):
            return self.model.parameter_layers()
        return ()

    def _check_parameters(self) -> None:
        """Raise UserError unless the model has what `optimizer` says of parameters."""
        rule, name = self.settings.optimizer, self.settings.model["name"]
        if rule.layer_decay != 1 and not self.parameter_layers():
            raise UserError(
                f"config: optimizer.layer_decay {rule.layer_decay:g} needs a model's "
                f"parameter_layers(), and {name} has none (tokenjax.models.contract)"
            )
        held_back = rule.network_rate != 1 or rule.network_after_epochs
        if held_back and contract.PREDICTORS not in self.parameter_groups():
            raise UserError(
                "config: optimizer.network_rate and network_after_epochs need a "
                "network with parts that judge its tokens, such as "
                f'reduction="dynamicvit", and {name} as it is configured has none'
            )
        if rule.freeze:
            inputs = self.model.example_inputs(1)
            variables = jax.eval_shape(self.model.init, jax.random.key(0), *inputs)
            parameter_names.find_frozen(rule.freeze, variables["params"])

    def optimizer(self) -> tuple[optax.GradientTransformation, optax.Schedule]:
        """Return the update rule, and the learning rate that is logged."""
        schedule = make_schedule(self.settings, self.num_examples)
        groups, layers = self.parameter_groups(), self.parameter_layers()
        epochs = self.settings.optimizer.network_after_epochs
        after = self.settings.in_steps(epochs, self.num_examples)
        rule = make_optimizer(self.settings, schedule, groups, layers, after)
        return rule, schedule

    def train_batches(
        self, split: Split, start: int, stop: int, rows: data.Rows = data.ALL_ROWS
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield training batches number start to stop - 1; of each these rows."""
        return data.train_batches(
            split,
            self.settings.seed,
            self.settings.batch_size,
            start,
            stop,
            self.sampling_weights,
            rows,
            self.settings.reading_processes,
        )

    @abc.abstractmethod
    def augmented_examples(self, split: Split, count: int) -> np.ndarray:
        """Return some training images (n, h, w, c) in 0..1, augmented, for the log."""

    @abc.abstractmethod
    def loss(self, state: TrainState, batch: Batch, key: jax.Array) -> Loss:
        """Return the mean loss of a batch, the new model state and scalars to log.

        The gradient is taken with respect to `state.params`. With gradient_accumulation
        the batch is a part of one: `ops.batch_parts` is for losses that are no mean.
        """

    def gradient_scalars(self, gradients: optax.Updates) -> Scalars:
        """Return what is logged of a step's gradients besides their norm."""
        del gradients
        return {}

    @abc.abstractmethod
    def predict(self, variables: VariableDict, batch: Batch) -> dict[str, jax.Array]:
        """Return what `summarize` and `scalars` need of every example; to be jitted."""

    def compile_predict(self, mesh: Mesh, scores: bool = False) -> Predict:
        """Return `predict` jitted; its outputs, and the batch's "mask", everywhere.

        `scores`: with all that a file of predictions holds.
        """
        del scores

        def predict(variables: VariableDict, batch: Batch) -> dict[str, jax.Array]:
            return {**self.predict(variables, batch), "mask": batch["mask"]}

        return inference.compile_inference(mesh, predict)

    @abc.abstractmethod
    def summarize(self, outputs: Outputs) -> Summary:
        """Return the evaluation of all examples of a split."""

    @classmethod
    @abc.abstractmethod
    def headline(cls, summary: Summary) -> list[str]:
        """Return the lines that say first what an evaluation found."""

    @classmethod
    def text_report(cls, summary: Summary) -> str:
        """Return an evaluation as text, for a file; "" for none."""
        del summary
        return ""

    @abc.abstractmethod
    def scalars(self, outputs: Outputs) -> dict[str, float]:
        """Return what is logged of a split during training."""

    def write_predictions(
        self, path: pathlib.Path, outputs: Outputs, split: Split
    ) -> None:
        """Write what was found of every example, one of `prediction_formats`.

        `outputs`: of `compile_predict` with scores.
        """
        del outputs, split
        raise UserError(f"{path}: this task writes no file of predictions")

    def other_conditions(self) -> Mapping[str, "Task"]:
        """Return tasks that evaluate the same variables otherwise, by name."""
        return {}

    def inspect(
        self, variables: VariableDict, batches: Iterable[Batch], split: Split
    ) -> Looks:
        """Return what the model did with some examples of a split, for the figures."""
        del variables, batches, split
        return {}

    def watch(self, split: Split, count: int, mesh: Mesh) -> Watch | None:
        """Return what shows, over the run, what the model looks at on some examples.

        None where there is no such thing.
        """
        del split, count, mesh
        return None

    def curves(self, rows: Sequence[Row], directory: pathlib.Path) -> None:
        """Draw figures of a run from its logged rows."""
        plots.training_curves(rows, directory / "training_curves.png")

    def figures(
        self,
        directory: pathlib.Path,
        summary: Summary,
        looks: Looks,
        outputs: Outputs,
        split: Split,
    ) -> None:
        """Draw figures of an evaluation; without a task's own there are none."""
        del directory, summary, looks, outputs, split


def first_examples(split: Split, seed: int, count: int) -> dict[str, np.ndarray]:
    """Return `count` training examples of the run's first epoch."""
    return split.gather(data.train_indices(seed, 0, count, len(split)))


def spread(split: Split, count: int) -> np.ndarray:
    """Return the indices of so many examples, from the first to the last label."""
    order = np.argsort(split.labels, kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return order[places.round().astype(int)]


def names_of(split: Split) -> list[str]:
    """Return what the examples are called, their numbers where they have no names."""
    names = data.example_names(split)
    return [str(n) for n in range(len(split))] if names is None else list(names)


def take(batches: Iterable[Batch], examples: int) -> Iterator[Batch]:
    """Yield so many batches that they hold `examples` or more."""
    for batch in batches:
        yield batch
        examples -= len(batch["mask"])
        if examples <= 0:
            return


def in_unit_range(images: np.ndarray) -> jax.Array:
    """Return uint8 images as float32 in 0..1."""
    return jnp.asarray(images, jnp.float32) / 255
