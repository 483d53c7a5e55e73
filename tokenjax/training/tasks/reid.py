"""The re-identification task: identities told apart, and found again.

    loss = sum over (score, feature) pairs of
           identity_weight * smoothed cross-entropy(score)
           + triplet_weight * triplet(feature)

A batch holds `instances` images of each of batch_size / instances identities. During
`direct_only_epochs` the fused pair counts nothing and what it alone needs stays as it
is. Evaluation ranks the gallery of every query by each of the model's features; the
fused one, with all that SDTPS does, is part of every evaluation.

Source: DeMo2 at 6334359 (losses, sampler, protocol); the delayed fusion is option 3 of
the analysis of its failing run.
"""

import copy
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tokenjax import data, evaluation
from tokenjax.data import Dataset, Split
from tokenjax.errors import UserError
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch, TrainState
from tokenjax.training.tasks import reid_figures, reid_losses, task
from tokenjax.training.tasks.reid_backbone import with_backbone
from tokenjax.training.tasks.reid_optimizer import reid_optimizer

FEATURES = ("direct", "fused", "concat")
PARTS = {  # of the parameters, whose gradients are logged apart; the rest: "heads"
    "backbone": ("backbone", "cv_embed"),
    "fusion": ("sdtps", "fusion"),
}
ROLES = ("query", "gallery")


class Reidentification(task.Task):
    """Samples of several modalities, by a model such as DeMo."""

    best_metric = "mAP"

    def __init__(self, model: nn.Module, dataset: Dataset, settings: Settings):
        """Raises: UserError for a model or data of another kind or too little data."""
        super().__init__(model, dataset, settings)
        if not isinstance(dataset.info, data.ReidInfo):
            raise UserError(
                f'task "reid" needs a re-identification set, not {dataset.info.name}'
            )
        if not hasattr(model, "pairs"):
            raise UserError(f'task "reid" trains demo, not {settings.model["name"]}')
        reid = settings.reid
        identities = settings.batch_size // reid.instances
        if identities > dataset.info.num_classes:
            raise UserError(
                f"config: a batch of {settings.batch_size} is {identities} identities "
                f"x reid.instances {reid.instances}, but {dataset.info.name} has "
                f"{dataset.info.num_classes} identities to train on"
            )
        # What its parts refuse is known before a workdir bears this configuration.
        jax.eval_shape(self.init, jax.random.key(0))
        self.info: data.ReidInfo = dataset.info
        self.missing: tuple[str, ...] = ()
        first = reid.direct_only_epochs
        self.fused_from = settings.in_steps(first, self.num_examples)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Variables of a new model."""
        return dict(self.model.init(key, *self.model.example_inputs(1)))

    def start(self, state: TrainState, sharding: Any) -> TrainState:
        """With the backbone's weights, if the settings name a converted one."""
        source = self.settings.reid.backbone_from
        return with_backbone(state, source, sharding) if source else state

    def optimizer(self) -> tuple[optax.GradientTransformation, optax.Schedule]:
        """A learning rate for every group of parameters; the base's is logged."""
        return reid_optimizer(self.settings, self.num_examples)

    def train_batches(
        self, split: Split, start: int, stop: int, rows: data.Rows = data.ALL_ROWS
    ) -> Iterator[dict]:
        """Batches of `instances` samples of each of some identities; these rows."""
        settings = self.settings
        return data.identity_batches(
            split,
            settings.seed,
            settings.batch_size,
            settings.reid.instances,
            start,
            stop,
            rows,
        )

    def augmented_examples(self, split: Split, count: int) -> np.ndarray:
        """The modalities of a sample side by side, (count, h, m w, 3) in 0..1."""
        batch = task.first_examples(split, self.settings.seed, count)
        key = jax.random.key(self.settings.seed)
        images = self.prepare(jax.tree.map(jnp.asarray, batch), key)
        wide = jnp.concatenate([images[name] for name in self.info.modalities], 2)
        mean, std = jnp.array(self.info.mean), jnp.array(self.info.std)
        return np.asarray(jnp.clip(wide * std + mean, 0.0, 1.0))

    def prepare(
        self, batch: Batch, key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """uint8 images to what the model takes; augmented if there is a key.

        An image that is not on disk is zeros, as one that `missing` leaves out.
        """
        info, reid = self.info, self.settings.reid
        images = {
            name: data.normalize(batch[name], info.mean, info.std)
            for name in info.modalities
        }
        if key is not None:
            images = data.augment_modalities(
                key,
                images,
                flip=reid.flip,
                crop_padding=reid.crop_padding,
                random_erasing=reid.random_erasing,
                aligned=reid.aligned_augmentation,
            )
        present = batch["present"][:, :, None, None, None]  # (b, m, 1, 1, 1)
        return {
            name: jnp.where(present[:, index], images[name], 0.0)
            for index, name in enumerate(info.modalities)
        }

    def loss(
        self,
        params: Any,
        model_state: Any,
        frozen: Any,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
    ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        """See the module's docstring."""
        del frozen
        image_key, dropout_key, gumbel_key = jax.random.split(key, 3)
        outputs, model_state = self.model.apply(
            {"params": params, **model_state},
            self.prepare(batch, image_key),
            batch["camera"],
            train=True,
            rngs={"dropout": dropout_key, "gumbel": gumbel_key},
            mutable=list(model_state),
        )
        pairs = self.model.pairs(outputs)
        reid, labels = self.settings.reid, batch["label"]
        scalars, total = {}, jnp.zeros(())
        for name, (scores, feature) in pairs.items():
            identity = reid_losses.identity_loss(
                scores, labels, self.settings.label_smoothing
            )
            margin = reid.triplet_margin or None
            triplet = reid_losses.triplet_loss(feature, labels, margin)
            scalars[f"identity_{name}"], scalars[f"triplet_{name}"] = identity, triplet
            loss = reid.identity_weight * identity + reid.triplet_weight * triplet
            if name == "fused" and self.fused_from:
                loss = jnp.where(step >= self.fused_from, loss, 0.0)
            total += loss
        first, _ = next(iter(pairs.values()))
        scalars["accuracy"] = jnp.mean(jnp.argmax(first, -1) == labels)
        return total, (model_state, scalars)

    def gradient_scalars(self, gradients: Any) -> dict[str, jax.Array]:
        """The norm of each part's gradient; together the parts are everything."""
        part_of = {name: part for part, names in PARTS.items() for name in names}
        parts: dict[str, dict] = {part: {} for part in (*PARTS, "heads")}
        for name, gradient in gradients.items():
            parts[part_of.get(name, "heads")][name] = gradient
        return {f"gradient_norm_{k}": optax.tree.norm(v) for k, v in parts.items()}

    def predict(self, variables: Any, batch: Batch) -> dict[str, jax.Array]:
        """Per example: the features, who it shows, and its part in retrieval."""
        images = self.prepare(batch)
        outputs = self.model.apply(
            variables, images, batch["camera"], missing=self.missing
        )
        found = {name: outputs["features"][name] for name in FEATURES}
        columns = ("label", "camera", "scene", *ROLES)
        return found | {name: batch[name] for name in columns if name in batch}

    def retrieve(
        self, outputs: Mapping[str, np.ndarray], feature: str, rerank: bool = False
    ) -> evaluation.Retrieval:
        """Every query ranked by a feature; a training split is query and gallery."""
        queries, gallery = reid_figures.roles(outputs)
        labels, groups = outputs["label"], outputs[self.info.same]
        about = (labels[queries], labels[gallery], groups[queries], groups[gallery])
        vectors = outputs[feature]
        if not rerank:
            return evaluation.evaluate_retrieval(
                vectors[queries], vectors[gallery], *about
            )
        distances = evaluation.rerank_distances(vectors[queries], vectors[gallery])
        return evaluation.evaluate_distances(distances, *about)

    def summarize(self, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """Retrieval by each feature; the settings' own at the top, with chance."""
        features = {name: self.retrieve(outputs, name).summary() for name in FEATURES}
        chosen = self.settings.reid.feature
        queries, gallery = reid_figures.roles(outputs)
        labels, groups = outputs["label"], outputs[self.info.same]
        summary = {
            "feature": chosen,
            **features[chosen],
            "examples": len(labels),
            "gallery": int(gallery.sum()),
            "chance": evaluation.chance_of_retrieval(
                labels[queries], labels[gallery], groups[queries], groups[gallery]
            ),
            "features": features,
        }
        if self.settings.reid.rerank:
            summary["reranked"] = self.retrieve(outputs, chosen, rerank=True).summary()
        return summary

    def scalars(self, outputs: dict[str, np.ndarray]) -> dict[str, float]:
        """What is logged of a split during training."""
        found: dict[str, float] = {}
        for name in FEATURES:
            summary = self.retrieve(outputs, name).summary()
            for key in ("mAP", "rank1"):
                found[f"{key}_{name}"] = summary[key]
                if name == self.settings.reid.feature:
                    found[key] = summary[key]
        return found

    def other_conditions(self) -> Mapping[str, task.Task]:
        """Each modality left out, and each two: {"missing_rgb": ..., ...}."""
        names = self.info.modalities
        if not self.settings.reid.missing_modalities or self.missing:
            return {}
        pairs = [
            (a, b) for index, a in enumerate(names) for b in names[index + 1 :]
        ] * (len(names) > 2)
        cases = [(name,) for name in names] * (len(names) > 1) + pairs
        return {f"missing_{'_'.join(case)}": self._without(case) for case in cases}

    def _without(self, missing: tuple[str, ...]) -> "Reidentification":
        other = copy.copy(self)
        other.missing = missing
        return other

    def inspect(
        self, variables: Any, batches: Iterable[Batch], split: Split
    ) -> dict[str, Any]:
        """What the model did with some samples; see `reid_figures.look`."""
        del batches
        return reid_figures.look(self, variables, split)

    def figures(
        self,
        directory: pathlib.Path,
        summary: dict[str, Any],
        looks: dict[str, Any],
        outputs: dict[str, np.ndarray],
        split: Split,
    ) -> None:
        """Rank lists, CMC, a map of the features, and which tokens were kept."""
        reid_figures.draw(self, directory, summary, looks, outputs, split)
