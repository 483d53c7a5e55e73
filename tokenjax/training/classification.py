"""The classification task: softmax cross-entropy, top-k accuracy, a report, figures."""

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
        return self.model.init(key, inputs)

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
                key, scaled, self.settings.augmentation, fill=self.info.mean
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

    def inspect(self, variables: Any, batches: Iterable[Batch]) -> tuple[dict, dict]:
        """What the model looked at on some images: (aux arrays, JSON-able summary).

        Models with a `return_attention` switch have it turned on.
        """
        model = self.model
        if hasattr(model, "return_attention"):
            model = model.clone(return_attention=True)
        small = {"alpha", "effective_keys", "alp_shares"}

        @jax.jit
        def look(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
            _, aux = model.apply(variables, self.prepare(images))
            return {key: aux[key] for key in small & set(aux) if aux[key] is not None}

        found: list[dict[str, np.ndarray]] = []
        images, count = [], 0
        for batch in batches:
            if count >= INSPECTED_IMAGES:
                break
            keep = np.asarray(batch["mask"])
            looks = jax.device_get(look(variables, batch["image"]))
            images.append(np.asarray(batch["image"])[keep])
            found.append({k: _rows(k, v, keep) for k, v in looks.items()})
            count += int(keep.sum())
        arrays = {
            key: np.concatenate([look[key] for look in found], axis=_batch_axis(key))
            for key in (found[0] if found else {})
        }
        summary = {
            key: arrays[key].mean(axis=1).tolist()
            for key in ("alpha", "effective_keys")
            if key in arrays
        }
        return {"images": np.concatenate(images), **arrays}, summary

    def figures(
        self, directory: pathlib.Path, summary: dict, looks: dict[str, np.ndarray]
    ) -> None:
        """Confusion matrix, and what the model looked at."""
        from tokenjax import plots  # matplotlib, needed at the end alone

        matrix = np.asarray(summary["confusion_matrix"])
        names = [row["name"] for row in summary["per_class"]]
        plots.confusion_matrix(matrix, names, directory / "confusion_matrix.png")
        plots.draw_looks(looks, directory)


def _batch_axis(key: str) -> int:
    return 1 if key in ("alpha", "effective_keys") else 0  # (depth, b) or (b, ...)


def _rows(key: str, array: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.compress(keep, array, axis=_batch_axis(key))
