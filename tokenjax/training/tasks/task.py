"""What the loop and the evaluation ask of every task, with what most of them answer."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tokenjax import data
from tokenjax.data import Dataset, Split
from tokenjax.training.optimizer import make_optimizer, make_schedule
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch, TrainState


class Task:
    """A model, a loss, an evaluation, and how the data is walked through."""

    best_metric: str  # of `scalars`: the checkpoint with the largest is kept

    def __init__(self, model: nn.Module, dataset: Dataset, settings: Settings):
        self.model: Any = model
        self.info = dataset.info
        self.settings = settings
        self.num_examples = len(dataset.train)
        weighted = settings.imbalance.sampler == "weighted"
        labels = dataset.train.labels
        self.sampling_weights = data.sampling_weights(labels) if weighted else None

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Variables of a new model."""
        raise NotImplementedError

    def init_frozen(self) -> Any:
        """Zeros of the structure of `TrainState.frozen`; most tasks have none."""
        return None

    def start(self, state: TrainState, sharding: Any) -> TrainState:
        """A new run's state before its first step."""
        del sharding
        return state

    def optimizer(self) -> tuple[optax.GradientTransformation, optax.Schedule]:
        """The update rule, and the learning rate that is logged."""
        schedule = make_schedule(self.settings, self.num_examples)
        return make_optimizer(self.settings, schedule), schedule

    def train_batches(
        self, split: Split, start: int, stop: int, rows: data.Rows = data.ALL_ROWS
    ) -> Iterator[dict]:
        """Training batches number start to stop - 1; of every batch these rows."""
        return data.train_batches(
            split,
            self.settings.seed,
            self.settings.batch_size,
            start,
            stop,
            self.sampling_weights,
            rows,
        )

    def augmented_examples(self, split: Split, count: int) -> np.ndarray:
        """Some training images (n, h, w, c) in 0..1, augmented, for the log."""
        raise NotImplementedError

    def loss(
        self,
        params: Any,
        model_state: Any,
        frozen: Any,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
    ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        """Mean loss of a batch at a step; (new model state, scalars to log)."""
        raise NotImplementedError

    def gradient_scalars(self, gradients: Any) -> dict[str, jax.Array]:
        """What is logged of a step's gradients besides their norm."""
        del gradients
        return {}

    def predict(self, variables: Any, batch: Batch) -> dict[str, jax.Array]:
        """What `summarize` and `scalars` need of every example; to be jitted."""
        raise NotImplementedError

    def summarize(self, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """The evaluation of all examples of a split, JSON-able."""
        raise NotImplementedError

    def scalars(self, outputs: dict[str, np.ndarray]) -> dict[str, float]:
        """What is logged of a split during training."""
        raise NotImplementedError

    def other_conditions(self) -> Mapping[str, "Task"]:
        """Tasks that evaluate the same variables otherwise, by name."""
        return {}

    def inspect(
        self, variables: Any, batches: Iterable[Batch], split: Split
    ) -> dict[str, Any]:
        """What the model did with some examples of a split, for the figures."""
        del variables, batches, split
        return {}

    def curves(self, rows: list[dict[str, Any]], directory: pathlib.Path) -> None:
        """Figures of a run from its logged rows."""
        from tokenjax import plots

        plots.training_curves(rows, directory / "training_curves.png")

    def figures(
        self,
        directory: pathlib.Path,
        summary: dict[str, Any],
        looks: dict[str, Any],
        outputs: dict[str, np.ndarray],
        split: Split,
    ) -> None:
        """Figures of an evaluation."""


def first_examples(split: Split, seed: int, count: int) -> dict[str, np.ndarray]:
    """`count` training examples of the run's first epoch."""
    return split.gather(data.train_indices(seed, 0, count, len(split)))


def take(batches: Iterable[Batch], examples: int) -> Iterator[Batch]:
    """So many batches that they hold `examples` or more."""
    for batch in batches:
        yield batch
        examples -= len(batch["mask"])
        if examples <= 0:
            return


def in_unit_range(images: np.ndarray) -> jax.Array:
    """uint8 to float32 in 0..1."""
    return jnp.asarray(images, jnp.float32) / 255
