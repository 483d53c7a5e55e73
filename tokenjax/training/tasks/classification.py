"""The classification task: softmax cross-entropy, top-k accuracy, a report, figures."""

import functools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.typing import VariableDict
from jax.sharding import Mesh

from tokenjax import evaluation, plots, tables
from tokenjax.data import Dataset, Mixed, Split, augment, mix, normalize
from tokenjax.evaluation import predictions
from tokenjax.models import contract
from tokenjax.training import inference
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.state import Batch, Loss, ModelState, Scalars, TrainState
from tokenjax.training.tasks import losses, task
from tokenjax.training.tasks.task import Looks, Outputs, Summary

INSPECTED_IMAGES = 256
GIVEN = ("image", "label", "box")  # of a batch, what a figure may show
UNEVEN = 2  # a training split whose largest class is more times its smallest


@TASKS.register("classification")
class Classification(task.Task):
    """Images to one of `num_classes`; batches hold "image" uint8 and "label"."""

    best_metric = "top1"
    prediction_formats = predictions.FORMATS

    def __init__(
        self,
        model: contract.Model,
        dataset: Dataset,
        settings: Settings,
        teacher: pathlib.Path | None = None,
    ):
        super().__init__(model, dataset, settings, teacher)
        counts, imbalance = dataset.info.counts["train"], settings.imbalance
        self.class_weights: np.ndarray | None = None
        if imbalance.class_weights == "inverse_frequency":
            self.class_weights = losses.inverse_frequency_weights(counts)  # (k,)
        self.logit_offsets: float | np.ndarray = 0.0
        if imbalance.logit_adjustment:
            prior = losses.log_prior(counts)
            self.logit_offsets = imbalance.logit_adjustment * prior  # (k,)

    def init(self, key: jax.Array) -> VariableDict:
        """Return variables of a new model."""
        inputs = jnp.zeros((1, *self.info.image_shape), jnp.float32)
        return dict(self.model.init(key, inputs))

    def augmented_examples(self, split: Split, count: int) -> np.ndarray:
        """Return the first examples (count, h, w, c) in 0..1, augmented."""
        images = task.first_examples(split, self.settings.seed, count)["image"]
        key = jax.random.key(self.settings.seed)
        scaled = task.in_unit_range(images)
        return np.asarray(augment(key, scaled, self.settings.augmentation))

    def loss(self, state: TrainState, batch: Batch, key: jax.Array) -> Loss:
        """Return cross-entropy as the settings weigh it, and the model's own losses."""
        image_key, model_key = jax.random.split(key)
        mixed = self.training_images(batch, image_key)
        logits, aux, model_state = self.forward(state, mixed.images, model_key)
        loss, scalars = self.class_loss(logits, aux, batch["label"], mixed)
        return loss, (model_state, scalars)

    def training_images(self, batch: Batch, key: jax.Array) -> Mixed:
        """Return images augmented, perhaps mixed in pairs, normalised."""
        augment_key, mix_key = jax.random.split(key)
        images = self.prepare(batch["image"], augment_key)
        return mix(mix_key, images, batch["label"], self.settings.augmentation)

    def forward(
        self,
        state: TrainState,
        images: jax.Array,
        key: jax.Array,
        collections: ModelState | None = None,
        **arguments: jax.typing.ArrayLike,
    ) -> tuple[jax.Array, dict[str, Any], ModelState]:
        """Return logits, aux and the new model state.

        Args:
          state: of training.
          images: as the model takes them.
          key: of all that is drawn.
          collections: of variables, besides what the state has.
          arguments: the model's.
        """
        dropout_key, gumbel_key = jax.random.split(key)
        (logits, aux), model_state = self.model.apply(
            {"params": state.params, **state.model_state, **(collections or {})},
            images,
            train=True,
            rngs={"dropout": dropout_key, "gumbel": gumbel_key},
            mutable=list(state.model_state),
            **arguments,
        )
        return logits, aux, model_state

    def class_loss(
        self, logits: jax.Array, aux: dict[str, Any], labels: jax.Array, mixed: Mixed
    ) -> tuple[jax.Array, Scalars]:
        """Return the loss, and scalars to log; accuracy is of pairs, by shares."""
        loss = losses.cross_entropy(
            logits + self.logit_offsets,
            labels,
            **self._weighing(),
            other_labels=mixed.other_labels,
            share=mixed.share,
        )
        loss += sum(aux["losses"].values())
        best = jnp.argmax(logits, -1)
        own, other = jnp.mean(best == labels), jnp.mean(best == mixed.other_labels)
        accuracy = mixed.share * own + (1 - mixed.share) * other
        return loss, {"accuracy": accuracy, **aux["losses"]}

    def prepare(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Turn uint8 (b, h, w, c) to what the model takes; augmented if given a key."""
        if key is not None:
            scaled = images.astype(jnp.float32) / 255
            images = augment(
                key, scaled, self.settings.augmentation, fill=jnp.array(self.info.mean)
            )
            return (images - jnp.array(self.info.mean)) / jnp.array(self.info.std)
        return normalize(images, self.info.mean, self.info.std)

    def infer(self, variables: VariableDict, images: jax.Array) -> inference.Inferred:
        """Return logits, and what `outputs` reads of `aux`, of uint8 images."""
        return inference.infer(self.model, self.prepare, variables, images)

    def predict(self, variables: VariableDict, batch: Batch) -> dict[str, jax.Array]:
        """Return per example the loss and the best classes in order; to be jitted."""
        return self.outputs(*self.infer(variables, batch["image"]), batch)

    def compile_predict(self, mesh: Mesh, scores: bool = False) -> task.Predict:
        """Return `predict` as two programs, of which the first is `infer` alone.

        A task with a `predict` of its own has it in one.
        """
        if type(self).predict is not Classification.predict:
            return super().compile_predict(mesh, scores)
        infer = inference.compile_inference(mesh, self.infer)

        def rank(inferred: inference.Inferred, batch: Batch) -> dict[str, jax.Array]:
            more = {"logits": inferred[0]} if scores else {}
            return {**self.outputs(*inferred, batch), **more, "mask": batch["mask"]}

        finish = inference.compile_alone(mesh, rank)

        def predict(variables: VariableDict, batch: Batch) -> dict[str, jax.Array]:
            images, rest = batch["image"], {**batch}
            del rest["image"]
            return finish(infer(variables, images), rest)

        return predict

    def outputs(
        self, logits: jax.Array, aux: dict[str, Any], batch: Batch
    ) -> dict[str, jax.Array]:
        """Return what `summarize` and `scalars` need of every example."""
        del aux
        labels = batch["label"]
        plain = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        _, best = jax.lax.top_k(logits, min(max(evaluation.TOP), self.info.num_classes))
        found = {"loss": plain, "best": best, "label": labels}
        if self.settings.evaluation_loss == "criterion":
            found["weighted_loss"], found["loss_weight"] = losses.weighted_losses(
                logits + self.logit_offsets, labels, **self._weighing()
            )
        return found

    def _weighing(self) -> dict[str, Any]:
        """Return how the criterion weighs what."""
        return {
            "label_smoothing": self.settings.label_smoothing,
            "class_weights": self.class_weights,
        }

    def summarize(self, outputs: Outputs) -> Summary:
        """Return the evaluation of all examples of a split."""
        summary = evaluation.summarize(
            outputs["label"],
            outputs["best"],
            outputs["loss"],
            self.info.num_classes,
            self.info.class_names,
        )
        summary["criterion"] = "cross_entropy"  # what "loss" is
        if "loss_weight" in outputs:
            summary["criterion"] = losses.name_criterion(self.settings)
            summary["loss"] = evaluation.finite(_weighted_mean(outputs))
        counts, imbalance = self.info.counts["train"], self.settings.imbalance
        if counts.max() <= UNEVEN * counts.min():
            return summary
        shots = evaluation.accuracy_by_shots(
            [row["recall"] for row in summary["per_class"]],
            counts,
            imbalance.many_shot,
            imbalance.few_shot,
        )
        return {**summary, "shots": shots, "train_counts": counts.tolist()}

    @classmethod
    def headline(cls, summary: Summary) -> list[str]:
        """Return the accuracies, and those of groups of classes if they are uneven."""
        top = {k: summary[f"top{k}"] for k in evaluation.TOP}
        shares = [f"top-{k} {v:.2%}" for k, v in top.items() if v is not None]
        loss = tables.shown(summary["loss"], ".4f")
        if (criterion := summary.get("criterion", "cross_entropy")) != "cross_entropy":
            loss += f" ({criterion})"
        lines = [
            f"{summary['split']}: {', '.join(shares)}, "
            f"loss {loss} on {summary['examples']} images"
        ]
        macro, weighted = summary["macro"], summary["weighted"]
        if absent := macro.get("left_out"):
            lines.append(
                f"{absent} of {absent + macro['classes']} classes have no image in "
                "this split: means over classes leave them out"
            )
        if "shots" in summary:
            lines += [
                f"macro F1 {macro['f1']:.2%}, weighted F1 {weighted['f1']:.2%}",
                "; ".join(_shot_line(*group) for group in summary["shots"].items()),
            ]
        for key, value in summary.get("found", {}).items():
            lines.append(f"found {key}: {value}")
        return lines

    @classmethod
    def text_report(cls, summary: Summary) -> str:
        """Return precision, recall and F1 of every class, and their means."""
        return evaluation.write_report(summary)

    def scalars(self, outputs: Outputs) -> dict[str, float]:
        """Return what is logged of a split during training."""
        accuracies = evaluation.top_accuracies(
            outputs["label"], outputs["best"], self.info.num_classes
        )
        measured = {k: v for k, v in accuracies.items() if v is not None}
        own = "loss_weight" in outputs
        loss = _weighted_mean(outputs) if own else outputs["loss"].mean()
        return {"loss": float(loss), **measured}

    def write_predictions(
        self, path: pathlib.Path, outputs: Outputs, split: Split
    ) -> None:
        """Write label, loss and scores of every example.

        Raises: UserError for a task whose `predict` gives no logits.
        """
        if "logits" not in outputs:
            return super().write_predictions(path, outputs, split)
        found = predictions.Predictions(
            task.names_of(split),
            self.info.class_names,
            outputs["logits"],
            outputs["label"],
            outputs["loss"],
        )
        predictions.write(path, found, max(evaluation.TOP))

    def inspect(
        self, variables: VariableDict, batches: Iterable[Batch], split: Split
    ) -> Looks:
        """Return what the model did with the first INSPECTED_IMAGES of a split.

        Returns: "image", "label", "prediction", what the batches have of `GIVEN` (n,
        ...), and whatever of the model's `aux` a figure takes (`plots.looks`).
        """
        del split
        look = jax.jit(functools.partial(inference.look, self.model, self.prepare))
        found = []
        for batch in task.take(batches, INSPECTED_IMAGES):
            keep = np.asarray(batch["mask"])
            looks = look(variables, batch["image"])
            looks |= {key: batch[key] for key in GIVEN if key in batch}
            found.append(
                {
                    key: np.compress(keep, jax.device_get(array), plots.image_axis(key))
                    for key, array in looks.items()
                }
            )
        return {
            key: np.concatenate([look[key] for look in found], plots.image_axis(key))
            for key in found[0]
        }

    def watch(self, split: Split, count: int, mesh: Mesh) -> task.Watch:
        """Return what shows the model's looks at some images; see `plots.looks`."""
        batch = split.gather(task.spread(split, count))
        given = {key: batch[key] for key in GIVEN if key in batch}

        def look(variables: VariableDict, batch: Batch) -> Looks:
            images = batch["image"]
            return inference.look_or_weigh(self.model, self.prepare, variables, images)

        look_again = inference.compile_few(mesh, look, {"image": batch["image"]})
        return task.Watch(
            lambda variables: {**look_again(variables), **given}, self.show
        )

    def show(self, looks: Looks) -> task.Shown:
        """Return rows of small pictures of what `watch` looked at, and predictions."""
        names, found = self.info.class_names, looks["prediction"]
        return task.Shown(
            plots.draw_rows(looks["image"], looks),
            [names[index] for index in found],
            (found == looks["label"]).tolist(),
        )

    def curves(self, rows: Sequence[task.Row], directory: pathlib.Path) -> None:
        """Draw training curves, and how many examples of each class were trained on."""
        super().curves(rows, directory)
        counts, whole = self.info.counts["train"], self.info.whole_train
        splits = {} if whole is None else {"in the source": whole.tolist()}
        plots.class_counts(
            {**splits, "trained on": counts.tolist()},
            self.info.class_names,
            directory / "class_distribution.png",
        )

    def figures(
        self,
        directory: pathlib.Path,
        summary: Summary,
        looks: Looks,
        outputs: Outputs,
        split: Split,
    ) -> None:
        """Draw the confusion matrix, some predictions, and what the model looked at."""
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
            recall = np.array([row["recall"] for row in summary["per_class"]], float)
            counts = np.asarray(summary["train_counts"])
            path = directory / "recall_per_class.png"
            plots.recall_per_class(names, recall, counts, path)
        plots.draw_looks(looks["image"], looks, directory)


def _weighted_mean(outputs: Outputs) -> float:
    """Return the training's criterion over all examples of a split.

    CIFAR-ViT averages its batches' values: with class weights they, and so the mean,
    depend on which examples share a batch; without, both are one.
    """
    weighted, weights = outputs["weighted_loss"], outputs["loss_weight"]
    return weighted.sum(dtype=np.float64) / weights.sum(dtype=np.float64)


def _shot_line(name: str, group: Summary) -> str:
    """Say how well the classes of one group are told, and of how many that is."""
    if not group["classes"]:
        return f"{name}-shot: no classes"
    left_out = group.get("left_out", 0)
    beside = f", {left_out} of them without an image" if left_out else ""
    accuracy = tables.shown(group["accuracy"], ".2%")
    return f"{name}-shot {accuracy} ({group['classes']} classes{beside})"
