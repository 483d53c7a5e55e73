"""The classification task: softmax cross-entropy, top-k accuracy, a report, figures."""

import itertools
import pathlib
from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tokenjax import evaluation
from tokenjax.data import Dataset, augment, normalize
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch

INSPECTED_IMAGES = 256
PER_BLOCK = ("alpha", "effective_keys")  # (depth, b)
INSPECTED_AUX = (*PER_BLOCK, "alp_shares", "alp_weights")


class Classification:
    """Images to one of `num_classes`; batches hold "image" uint8 and "label"."""

    best_metric = "top1"

    def __init__(self, model: nn.Module, dataset: Dataset, settings: Settings):
        self.model = model
        self.info = dataset.info
        self.settings = settings

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Variables of a new model."""
        inputs = jnp.zeros((1, *self.info.image_shape), jnp.float32)
        return dict(self.model.init(key, inputs))

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        """Cross-entropy with label smoothing, plus the model's own losses."""
        augment_key, dropout_key, gumbel_key = jax.random.split(key, 3)
        images = self.prepare(batch["image"], augment_key)
        (logits, aux), model_state = self.model.apply(
            {"params": params, **model_state},
            images,
            train=True,
            rngs={"dropout": dropout_key, "gumbel": gumbel_key},
            mutable=list(model_state),
        )
        targets = optax.smooth_labels(
            jax.nn.one_hot(batch["label"], self.info.num_classes),
            self.settings.label_smoothing,
        )
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        loss += sum(aux["losses"].values())
        accuracy = jnp.mean(jnp.argmax(logits, -1) == batch["label"])
        return loss, (model_state, {"accuracy": accuracy, **aux["losses"]})

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
        logits, _ = self.model.apply(variables, self.prepare(batch["image"]))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        _, best = jax.lax.top_k(logits, min(5, self.info.num_classes))
        return {"loss": losses, "best": best, "label": batch["label"]}

    def summarize(self, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """The evaluation of all examples of a split, JSON-able."""
        return evaluation.summarize(
            outputs["label"],
            outputs["best"],
            outputs["loss"],
            self.info.num_classes,
            self.info.class_names,
        )

    def scalars(self, outputs: dict[str, np.ndarray]) -> dict[str, float]:
        """What is logged of a split during training."""
        correct = outputs["best"] == outputs["label"][:, None]  # (n, k)
        return {
            "loss": float(outputs["loss"].mean()),
            "top1": float(correct[:, 0].mean()),
            "top5": float(correct.any(axis=1).mean()),
        }

    def inspect(self, variables: Any, batches: Iterable[Batch]) -> dict[str, Any]:
        """What the model did with the first INSPECTED_IMAGES images of a split.

        Returns: "image", "label", "prediction" and, where the model's `aux` has them,
        "alpha" and "effective_keys" (depth, n) with "num_keys" (n,), "alp_shares",
        "alp_weights", all numpy. A model's `return_attention` switch is turned on.
        """
        model = self.model
        if hasattr(model, "return_attention"):
            model = model.clone(return_attention=True)

        @jax.jit
        def look(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
            logits, aux = model.apply(variables, self.prepare(images))
            found = {key: aux[key] for key in INSPECTED_AUX if aux.get(key) is not None}
            if aux.get("attention") is not None:
                num_keys = aux["attention"][0].shape[-1]
                found["num_keys"] = jnp.full(len(logits), num_keys)
            return {"prediction": jnp.argmax(logits, -1), **found}

        count = -(-INSPECTED_IMAGES // self.settings.batch_size)
        found = []
        for batch in itertools.islice(batches, count):
            keep = np.asarray(batch["mask"])
            looks = look(variables, batch["image"])
            looks |= {key: batch[key] for key in ("image", "label")}
            found.append({k: _rows(k, v, keep) for k, v in looks.items()})
        return {
            key: np.concatenate([look[key] for look in found], axis=_batch_axis(key))
            for key in found[0]
        }

    def figures(
        self, directory: pathlib.Path, summary: dict, looks: dict[str, np.ndarray]
    ) -> None:
        """Confusion matrix, some predictions, and what the model looked at."""
        from tokenjax import plots  # matplotlib, needed at the end alone

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
        plots.draw_looks(looks["image"], looks, directory)


def _batch_axis(key: str) -> int:
    return 1 if key in PER_BLOCK else 0  # (depth, b) or (b, ...)


def _rows(key: str, array: jax.Array, keep: np.ndarray) -> np.ndarray:
    return np.compress(keep, jax.device_get(array), axis=_batch_axis(key))
