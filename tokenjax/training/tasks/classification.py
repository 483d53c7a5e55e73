"""The classification task: softmax cross-entropy, top-k accuracy, a report, figures."""

import pathlib
from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tokenjax import evaluation, plots
from tokenjax.data import Dataset, Mixed, Split, augment, mix, normalize
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch
from tokenjax.training.tasks import losses, task

INSPECTED_IMAGES = 256
GIVEN = ("image", "label", "box")  # of a batch, what a figure may show
UNEVEN = 2  # a training split whose largest class is more times its smallest


class Classification(task.Task):
    """Images to one of `num_classes`; batches hold "image" uint8 and "label"."""

    best_metric = "top1"

    def __init__(self, model: nn.Module, dataset: Dataset, settings: Settings):
        super().__init__(model, dataset, settings)
        counts, imbalance = dataset.info.counts["train"], settings.imbalance
        self.class_weights = None
        if imbalance.class_weights == "inverse_frequency":
            self.class_weights = losses.inverse_frequency_weights(counts)  # (k,)
        self.logit_offsets: Any = 0.0
        if imbalance.logit_adjustment:
            prior = losses.log_prior(counts)
            self.logit_offsets = imbalance.logit_adjustment * prior  # (k,)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Variables of a new model."""
        inputs = jnp.zeros((1, *self.info.image_shape), jnp.float32)
        return dict(self.model.init(key, inputs))

    def augmented_examples(self, split: Split, count: int) -> np.ndarray:
        """(count, h, w, c) in 0..1."""
        images = task.first_examples(split, self.settings.seed, count)["image"]
        key = jax.random.key(self.settings.seed)
        scaled = task.in_unit_range(images)
        return np.asarray(augment(key, scaled, self.settings.augmentation))

    def loss(
        self,
        params: Any,
        model_state: Any,
        frozen: Any,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
    ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        """Cross-entropy as the settings weigh it, plus the model's own losses."""
        del frozen, step
        image_key, model_key = jax.random.split(key)
        mixed = self.training_images(batch, image_key)
        logits, aux, model_state = self.forward(
            params, model_state, mixed.images, model_key
        )
        loss, scalars = self.class_loss(logits, aux, batch["label"], mixed)
        return loss, (model_state, scalars)

    def training_images(self, batch: Batch, key: jax.Array) -> Mixed:
        """Augmented, perhaps mixed in pairs, normalised."""
        augment_key, mix_key = jax.random.split(key)
        images = self.prepare(batch["image"], augment_key)
        return mix(mix_key, images, batch["label"], self.settings.augmentation)

    def forward(
        self,
        params: Any,
        model_state: Any,
        images: jax.Array,
        key: jax.Array,
        **arguments: Any,
    ) -> tuple[jax.Array, dict, Any]:
        """Logits, aux and the new model state, in training; arguments: the model's."""
        dropout_key, gumbel_key = jax.random.split(key)
        (logits, aux), model_state = self.model.apply(
            {"params": params, **model_state},
            images,
            train=True,
            rngs={"dropout": dropout_key, "gumbel": gumbel_key},
            mutable=list(model_state),
            **arguments,
        )
        return logits, aux, model_state

    def class_loss(
        self, logits: jax.Array, aux: dict, labels: jax.Array, mixed: Mixed
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss, and scalars to log; accuracy is that of the pair, by its shares."""
        loss = losses.cross_entropy(
            logits + self.logit_offsets,
            labels,
            label_smoothing=self.settings.label_smoothing,
            class_weights=self.class_weights,
            other_labels=mixed.other_labels,
            share=mixed.share,
        )
        loss += sum(aux["losses"].values())
        best = jnp.argmax(logits, -1)
        own, other = jnp.mean(best == labels), jnp.mean(best == mixed.other_labels)
        accuracy = mixed.share * own + (1 - mixed.share) * other
        return loss, {"accuracy": accuracy, **aux["losses"]}

    def prepare(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """uint8 (b, h, w, c) to what the model takes; augmented if there is a key."""
        if key is not None:
            scaled = images.astype(jnp.float32) / 255
            images = augment(
                key, scaled, self.settings.augmentation, fill=jnp.array(self.info.mean)
            )
            return (images - jnp.array(self.info.mean)) / jnp.array(self.info.std)
        return normalize(images, self.info.mean, self.info.std)

    def predict(self, variables: Any, batch: Batch) -> dict[str, jax.Array]:
        """Per example: loss, the best classes in order; to be jitted."""
        logits, aux = self.model.apply(variables, self.prepare(batch["image"]))
        return self.outputs(logits, aux, batch)

    def outputs(
        self, logits: jax.Array, aux: Any, batch: Batch
    ) -> dict[str, jax.Array]:
        """What `summarize` and `scalars` need of every example."""
        del aux
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        _, best = jax.lax.top_k(logits, min(5, self.info.num_classes))
        return {"loss": losses, "best": best, "label": batch["label"]}

    def summarize(self, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """The evaluation of all examples of a split, JSON-able."""
        summary = evaluation.summarize(
            outputs["label"],
            outputs["best"],
            outputs["loss"],
            self.info.num_classes,
            self.info.class_names,
        )
        counts, imbalance = self.info.counts["train"], self.settings.imbalance
        if counts.max() <= UNEVEN * counts.min():
            return summary
        shots = evaluation.accuracy_by_shots(
            np.array([row["recall"] for row in summary["per_class"]]),
            counts,
            imbalance.many_shot,
            imbalance.few_shot,
        )
        return {**summary, "shots": shots, "train_counts": counts.tolist()}

    def scalars(self, outputs: dict[str, np.ndarray]) -> dict[str, float]:
        """What is logged of a split during training."""
        correct = outputs["best"] == outputs["label"][:, None]  # (n, k)
        return {
            "loss": float(outputs["loss"].mean()),
            "top1": float(correct[:, 0].mean()),
            "top5": float(correct.any(axis=1).mean()),
        }

    def inspect(
        self, variables: Any, batches: Iterable[Batch], split: Split
    ) -> dict[str, Any]:
        """What the model did with the first INSPECTED_IMAGES images of a split.

        Returns: "image", "label", "prediction", the batches' "box" (n, 4) if they have
        one, and whatever of the model's `aux` a figure takes (`tokenjax.plots.looks`),
        all numpy. A model's `return_attention` switch is turned on.
        """
        del split
        model = self.model
        if hasattr(model, "return_attention"):
            model = model.clone(return_attention=True)

        @jax.jit
        def look(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
            logits, aux = model.apply(variables, self.prepare(images))
            found = plots.collect(aux, len(logits))
            return {"prediction": jnp.argmax(logits, -1), **found}

        found = []
        for batch in task.take(batches, INSPECTED_IMAGES):
            keep = np.asarray(batch["mask"])
            looks = look(variables, batch["image"])
            looks |= {key: batch[key] for key in GIVEN if key in batch}
            found.append({k: _rows(k, v, keep) for k, v in looks.items()})
        return {
            key: np.concatenate([look[key] for look in found], plots.image_axis(key))
            for key in found[0]
        }

    def figures(
        self,
        directory: pathlib.Path,
        summary: dict[str, Any],
        looks: dict[str, Any],
        outputs: dict[str, np.ndarray],
        split: Split,
    ) -> None:
        """Confusion matrix, some predictions, and what the model looked at."""
        del outputs, split
        names = self.info.class_names
        matrix = np.asarray(summary["confusion_matrix"])
        plots.confusion_matrix(matrix, names, directory / "confusion_matrix.png")
        plots.predictions(
            looks["image"][:24],
            looks["label"][:24],
            looks["prediction"][:24],
            names,
            directory / "predictions.png",
        )
        if "shots" in summary:
            recall = [row["recall"] for row in summary["per_class"]]
            counts = np.asarray(summary["train_counts"])
            path = directory / "recall_per_class.png"
            plots.recall_per_class(names, np.asarray(recall), counts, path)
        plots.draw_looks(looks["image"], looks, directory)


def _rows(key: str, array: jax.Array, keep: np.ndarray) -> np.ndarray:
    return np.compress(keep, jax.device_get(array), axis=plots.image_axis(key))
