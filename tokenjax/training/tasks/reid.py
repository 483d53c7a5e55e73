"""The re-identification task: identities told apart, and found again.

    loss = sum over (score, feature) pairs of
           identity_weight * smoothed cross-entropy(score)
           + triplet_weight * triplet(feature)

in which the fused pair counts `fused_weight` times, and its triplet loss
`fused_triplet_weight` times as much as others'.

A batch holds `instances` images of each of batch_size / instances identities. During
`direct_only_epochs` the fused pair counts nothing and what it alone needs stays as it
is. Evaluation ranks the gallery of every query by each of the model's features; the
fused one, with all that SDTPS does, is part of every evaluation.

Source: DeMo2 at 6334359 (losses, sampler, protocol); the delayed fusion is option 3 of
the analysis of its failing run.
"""

import copy
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.typing import VariableDict
from jax.sharding import Mesh

from tokenjax import data, evaluation, plots
from tokenjax.data import Dataset, Split
from tokenjax.errors import UserError
from tokenjax.evaluation import predictions
from tokenjax.models import contract
from tokenjax.models.contract import FEATURES
from tokenjax.training import parameter_groups
from tokenjax.training.observation.progress import say
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.state import Batch, Loss, Scalars, TrainState
from tokenjax.training.tasks import reid_figures, reid_losses, task
from tokenjax.training.tasks.reid_optimizer import reid_optimizer
from tokenjax.training.tasks.task import Looks, Outputs, Summary

PARTS = {  # groups of parameters whose gradients are logged apart; the rest: "heads"
    "backbone": (contract.BACKBONE, contract.CAMERAS),
    "fusion": (contract.FUSION,),
}
ROLES = ("query", "gallery")


@TASKS.register("reid")
class Reidentification(task.Task):
    """Samples of several modalities, by a model such as DeMo."""

    best_metric = "mAP"
    prediction_formats = (".npz",)
    model: contract.Retrieves

    def __init__(
        self,
        model: contract.Model,
        dataset: Dataset,
        settings: Settings,
        teacher: pathlib.Path | None = None,
    ):
        """Raises: UserError for a model or data of another kind or too little data."""
        super().__init__(model, dataset, settings, teacher)
        if not isinstance(dataset.info, data.ReidInfo):
            raise UserError(
                f'task "reid" needs a re-identification set, not {dataset.info.name}'
            )
        if not isinstance(model, contract.Retrieves):
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
        for remark in dataset.info.remarks:
            say(remark)
        self.missing: tuple[str, ...] = ()
        first = reid.direct_only_epochs
        self.fused_from = settings.in_steps(first, self.num_examples)

    def init(self, key: jax.Array) -> VariableDict:
        """Return variables of a new model."""
        return dict(self.model.init(key, *self.model.example_inputs(1)))

    def optimizer(self) -> tuple[optax.GradientTransformation, optax.Schedule]:
        """Return the rule, with a rate for each group of parameters, and the base's."""
        groups = self.parameter_groups()
        return reid_optimizer(self.settings, self.num_examples, groups)

    def train_batches(
        self, split: Split, start: int, stop: int, rows: data.Rows = data.ALL_ROWS
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of `instances` samples of each identity in them; these rows."""
        settings = self.settings
        return data.identity_batches(
            split,
            settings.seed,
            settings.batch_size,
            settings.reid.instances,
            start,
            stop,
            rows,
            settings.reading_processes,
        )

    def augmented_examples(self, split: Split, count: int) -> np.ndarray:
        """Return a sample's modalities side by side, (count, h, m w, 3) in 0..1."""
        batch = task.first_examples(split, self.settings.seed, count)
        key = jax.random.key(self.settings.seed)
        images = self.prepare(jax.tree.map(jnp.asarray, batch), key)
        wide = jnp.concatenate([images[name] for name in self.info.modalities], 2)
        mean, std = jnp.array(self.info.mean), jnp.array(self.info.std)
        return np.asarray(jnp.clip(wide * std + mean, 0.0, 1.0))

    def prepare(
        self, batch: Batch, key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Turn uint8 images to what the model takes; augmented if there is a key.

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

    def loss(self, state: TrainState, batch: Batch, key: jax.Array) -> Loss:
        """Return the loss of the module's docstring."""
        image_key, dropout_key, gumbel_key = jax.random.split(key, 3)
        outputs, model_state = self.model.apply(
            {"params": state.params, **state.model_state},
            self.prepare(batch, image_key),
            batch["camera"],
            train=True,
            rngs={"dropout": dropout_key, "gumbel": gumbel_key},
            mutable=list(state.model_state),
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
            total += self._weigh(name, identity, triplet, state.step)
        first, _ = next(iter(pairs.values()))
        scalars["accuracy"] = jnp.mean(jnp.argmax(first, -1) == labels)
        return total, (model_state, scalars)

    def _weigh(
        self, name: str, identity: jax.Array, triplet: jax.Array, step: jax.Array
    ) -> jax.Array:
        """Return what a pair's two losses add to the total."""
        reid = self.settings.reid
        if name != contract.FUSED_PAIR:
            return reid.identity_weight * identity + reid.triplet_weight * triplet
        of_triplet = reid.triplet_weight * reid.fused_triplet_weight
        loss = reid.identity_weight * identity + of_triplet * triplet
        loss *= reid.fused_weight
        return (
            jnp.where(step >= self.fused_from, loss, 0.0) if self.fused_from else loss
        )

    def gradient_scalars(self, gradients: optax.Updates) -> Scalars:
        """Return the norm of each part's gradient; together the parts are all."""
        groups, rest = self.parameter_groups(), gradients
        norms: Scalars = {}
        for part, names in PARTS.items():
            paths = parameter_groups.members(groups, gradients, *names)
            own, rest = parameter_groups.split(rest, paths)
            norms[f"gradient_norm_{part}"] = optax.tree.norm(own)
        return norms | {"gradient_norm_heads": optax.tree.norm(rest)}

    def predict(self, variables: VariableDict, batch: Batch) -> dict[str, jax.Array]:
        """Return per example the features, who it shows, and its part in retrieval."""
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
        """Rank the gallery for every query by a feature.

        Of a training split every example is query and gallery.
        """
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

    def summarize(self, outputs: Outputs) -> Summary:
        """Return retrieval by each feature, the settings' own on top, and chance."""
        features = {name: self.retrieve(outputs, name).summary() for name in FEATURES}
        chosen = self.settings.reid.feature
        queries, gallery = reid_figures.roles(outputs)
        labels, groups = outputs["label"], outputs[self.info.same]
        about = (labels[queries], labels[gallery], groups[queries], groups[gallery])
        ranks = len(features[chosen]["cmc"])
        chance = evaluation.chance_of_retrieval(*about)
        by_rank = evaluation.chance_by_rank(*about, ranks)
        summary = {
            "feature": chosen,
            **features[chosen],
            "examples": len(labels),
            "gallery": int(gallery.sum()),
            "chance": {**chance, "cmc": by_rank.tolist()},
            "features": features,
        }
        if self.settings.reid.rerank:
            summary["reranked"] = self.retrieve(outputs, chosen, rerank=True).summary()
        return summary

    @classmethod
    def headline(cls, summary: Summary) -> list[str]:
        """Return retrieval by each feature, and without some modalities."""
        chance = summary["chance"]
        lines = [
            f"{summary['split']}: {summary['valid_queries']} queries, "
            f"{summary['gallery']} in the gallery; a random ranking would reach "
            f"mAP {chance['mAP']:.2%}, rank-1 {chance['rank1']:.2%}"
        ]
        if unmatched := summary["queries"] - summary["valid_queries"]:
            lines.append(
                f"{unmatched} of {summary['queries']} queries have no match in the "
                "gallery and do not count"
            )
        rows = dict(summary["features"])
        if "reranked" in summary:
            rows["re-ranked"] = summary["reranked"]
        for name, row in rows.items():
            ranks = ", ".join(
                f"rank-{rank} {row[f'rank{rank}']:.2%}"
                for rank in (1, 5, 10)
                if row[f"rank{rank}"] is not None
            )
            mean = f"mAP {row['mAP']:.2%}"
            lines.append(f"{name:>10}: {mean}, {ranks}, mINP {row['mINP']:.2%}")
        for name, row in summary.get("conditions", {}).items():
            label = name.replace("_", " ")
            mean, first = f"mAP {row['mAP']:.2%}", f"rank-1 {row['rank1']:.2%}"
            lines.append(f"{label:>16}: {mean}, {first}")
        return lines

    def scalars(self, outputs: Outputs) -> dict[str, float]:
        """Return what is logged of a split during training."""
        found: dict[str, float] = {}
        for name in FEATURES:
            summary = self.retrieve(outputs, name).summary()
            for key in ("mAP", "rank1"):
                found[f"{key}_{name}"] = summary[key]
                if name == self.settings.reid.feature:
                    found[key] = summary[key]
        return found

    def write_predictions(
        self, path: pathlib.Path, outputs: Outputs, split: Split
    ) -> None:
        """Write features, who each sample shows, and its part in retrieval."""
        names = np.array(task.names_of(split), np.str_)
        predictions.write_arrays(path, {"names": names, **outputs})

    def other_conditions(self) -> Mapping[str, task.Task]:
        """Return each modality left out, and each two: {"missing_rgb": ..., ...}."""
        names = self.info.modalities
        if not self.settings.reid.missing_modalities or self.missing:
            return {}
        cases: list[tuple[str, ...]] = []
        if len(names) > 1:
            cases += itertools.combinations(names, 1)
        if len(names) > 2:
            cases += itertools.combinations(names, 2)
        return {f"missing_{'_'.join(case)}": self._without(case) for case in cases}

    def _without(self, missing: tuple[str, ...]) -> "Reidentification":
        other = copy.copy(self)
        other.missing = missing
        return other

    def inspect(
        self, variables: VariableDict, batches: Iterable[Batch], split: Split
    ) -> Looks:
        """Return which tokens were chosen, or are left, of some samples.

        See `reid_figures.look`.
        """
        del batches
        model = self.model
        if not (reid_figures.selects(model) or reid_figures.reduces(model)):
            return {}
        names = self.info.modalities
        return reid_figures.look(model, self.prepare, names, variables, split)

    def watch(self, split: Split, count: int, mesh: Mesh) -> task.Watch:
        """Return what shows which tokens are chosen; see `reid_figures.watch`."""
        feature = self.settings.reid.feature
        return reid_figures.watch(
            self.model, self.prepare, self.info, feature, split, count, mesh
        )

    def curves(self, rows: Sequence[task.Row], directory: pathlib.Path) -> None:
        """Draw training curves, and mAP and rank-1 of every feature over epochs."""
        super().curves(rows, directory)
        if any("validation/mAP" in row for row in rows):
            steps_per_epoch = self.num_examples / self.settings.batch_size
            path = directory / "retrieval_curves.png"
            plots.retrieval_curves(rows, FEATURES, steps_per_epoch, path)

    def figures(
        self,
        directory: pathlib.Path,
        summary: Summary,
        looks: Looks,
        outputs: Outputs,
        split: Split,
    ) -> None:
        """Draw rank lists, CMC, a map of the features, and which tokens were kept."""
        feature, same = self.settings.reid.feature, self.info.same
        reid_figures.draw_retrieval(directory, summary, outputs, feature)
        reid_figures.draw_rank_lists(
            directory, outputs, split, feature, same, self.info.modalities
        )
        if isinstance(self.model, contract.SelectsTokens) and "mask" in looks:
            reid_figures.draw_selection(directory, looks, self.model.grid)
        if "regions" in looks:
            reid_figures.draw_regions(directory, looks)
