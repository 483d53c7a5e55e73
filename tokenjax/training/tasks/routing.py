"""The routing task: classification by a model that routes patches, watched closely.

    loss = classification + budget_weight * (mean ratio - target)^2

The target falls from `routing.start_ratio` to the model's `target_ratio` and the
temperature from `routing.start_temperature` to the model's, both linearly between
`routing.anneal_from_epochs` and `routing.anneal_to_epochs`: at first every patch goes
to the big network, so that it learns what is there to be seen on all of them; then the
budget takes away those patches that lose least by it. Where the scores enter the
aggregator's weights the router finds its way without (docs/results.md).
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tokenjax import evaluation, tables
from tokenjax.data import Dataset
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import TASKS
from tokenjax.training.state import Batch, Loss, TrainState
from tokenjax.training.tasks.classification import Classification
from tokenjax.training.tasks.task import Outputs, Row, Summary


@TASKS.register("routing")
class Routing(Classification):
    """Classification by a model with a target ratio and a temperature."""

    model: contract.RoutesPatches

    def __init__(
        self,
        model: contract.Model,
        dataset: Dataset,
        settings: Settings,
        teacher: pathlib.Path | None = None,
    ):
        """Raises: UserError for a model that does not route."""
        super().__init__(model, dataset, settings, teacher)
        if not isinstance(model, contract.RoutesPatches):
            raise UserError(
                'task "routing" trains attention_routing and its baselines, '
                f"not {settings.model['name']}"
            )
        routing = settings.routing
        examples = len(dataset.train)
        self.first = settings.in_steps(routing.anneal_from_epochs, examples)
        self.last = settings.in_steps(routing.anneal_to_epochs, examples)

    def annealed(self, start: float, end: float, step: jax.Array) -> jax.Array:
        """Go from `start` to `end`, linearly between the steps first and last."""
        span = max(self.last - self.first, 1)
        done = jnp.clip((step - self.first) / span, 0.0, 1.0)
        return start + (end - start) * jnp.where(self.last > 0, done, 1.0)

    def loss(self, state: TrainState, batch: Batch, key: jax.Array) -> Loss:
        """Return the loss of the module's docstring."""
        routing, model = self.settings.routing, self.model
        target = self.annealed(routing.start_ratio, model.target_ratio, state.step)
        start = routing.start_temperature or model.temperature
        temperature = self.annealed(start, model.temperature, state.step)
        image_key, model_key = jax.random.split(key)
        mixed = self.training_images(batch, image_key)
        logits, aux, model_state = self.forward(
            state,
            mixed.images,
            model_key,
            target_ratio=target,
            temperature=temperature,
        )
        loss, scalars = self.class_loss(logits, aux, batch["label"], mixed)
        ratio, scores = aux["routing_ratio"], aux["attention_scores"]
        scalars |= {
            "routing_ratio": ratio.mean(),
            "target_ratio": target,
            "temperature": temperature,
            "threshold": aux["threshold"],
            "score_mean": scores.mean(),
            "score_std": scores.std(axis=1).mean(),  # over the patches of an image
            "none_selected": jnp.mean(ratio == 0),
            "all_selected": jnp.mean(ratio == 1),
            "mflops": aux["actual_flops"].mean() / 1e6,
        }
        return loss, (model_state, scalars)

    def outputs(
        self, logits: jax.Array, aux: dict[str, Any], batch: Batch
    ) -> dict[str, jax.Array]:
        """Return classification's, what was routed where, and the box if any."""
        outputs = {
            **super().outputs(logits, aux, batch),
            "routed": aux["mask"],
            "scores": aux["attention_scores"],
            "expected_flops": aux["expected_flops"],
            "actual_flops": aux["actual_flops"],
            "threshold": jnp.broadcast_to(aux["threshold"], len(logits)),
        }
        return outputs | {key: batch[key] for key in ("box",) if key in batch}

    def routing_summary(self, outputs: Outputs) -> Summary:
        """Return what the router did with a split."""
        found = evaluation.summarize_routing(
            outputs["routed"],
            outputs["scores"],
            outputs.get("box"),
            self.info.image_shape[0],
        )
        return {
            **found,
            "threshold": evaluation.finite(outputs["threshold"].mean()),
            "expected_mflops": float(outputs["expected_flops"].mean() / 1e6),
            "mflops": float(outputs["actual_flops"].mean() / 1e6),
        }

    def summarize(self, outputs: Outputs) -> Summary:
        """Return the evaluation of all examples of a split."""
        return {
            **super().summarize(outputs),
            "routing": self.routing_summary(outputs),
        }

    @classmethod
    def headline(cls, summary: Summary) -> list[str]:
        """Return the classifier's lines, and what went to the big network."""
        routing = summary["routing"]
        line = (
            f"{routing['ratio']:.1%} of the patches to the big network, "
            f"{routing['mflops']:.2f} MFLOPs per image"
        )
        if "target_recall" in routing:  # the data has boxes
            recall = tables.shown(routing["target_recall"], ".1%")
            line += f"; of the target's patches: {recall}"
        return [*super().headline(summary), line]

    def scalars(self, outputs: Outputs) -> dict[str, float]:
        """Return what is logged of a split during training."""
        routing = self.routing_summary(outputs)
        logged = {
            "routing_ratio": routing["ratio"],
            "threshold": routing["threshold"],
            "score_std": routing["score_std"],
            "none_selected": routing["none_selected"],
            "all_selected": routing["all_selected"],
            "mflops": routing["mflops"],
            "target_recall": routing.get("target_recall"),
        }
        measured = {key: value for key, value in logged.items() if value is not None}
        return super().scalars(outputs) | measured

    def curves(self, rows: Sequence[Row], directory: pathlib.Path) -> None:
        """Draw training curves, and what the router did over the run."""
        from tokenjax import plots

        super().curves(rows, directory)
        path = directory / "routing_curves.png"
        plots.routing_curves(rows, path, self.model.target_ratio)
