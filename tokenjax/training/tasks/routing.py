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
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import evaluation
from tokenjax.data import Dataset
from tokenjax.errors import UserError
from tokenjax.training.settings import Settings
from tokenjax.training.state import Batch
from tokenjax.training.tasks.classification import Classification


class Routing(Classification):
    """Classification by a model with `target_ratio` and `temperature`."""

    def __init__(self, model: nn.Module, dataset: Dataset, settings: Settings):
        """Raises: UserError for a model that does not route."""
        super().__init__(model, dataset, settings)
        if not hasattr(model, "budget_weight"):
            raise UserError(
                'task "routing" trains attention_routing and its baselines, '
                f"not {settings.model['name']}"
            )
        routing = settings.routing
        examples = len(dataset.train)
        self.first = settings.in_steps(routing.anneal_from_epochs, examples)
        self.last = settings.in_steps(routing.anneal_to_epochs, examples)

    def annealed(self, start: float, end: float, step: jax.Array) -> jax.Array:
        """From `start` to `end`, linearly between the steps first and last."""
        span = max(self.last - self.first, 1)
        done = jnp.clip((step - self.first) / span, 0.0, 1.0)
        return start + (end - start) * jnp.where(self.last > 0, done, 1.0)

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
        routing, model = self.settings.routing, self.model
        target = self.annealed(routing.start_ratio, model.target_ratio, step)
        start = routing.start_temperature or model.temperature
        temperature = self.annealed(start, model.temperature, step)
        image_key, model_key = jax.random.split(key)
        mixed = self.training_images(batch, image_key)
        logits, aux, model_state = self.forward(
            params,
            model_state,
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
        self, logits: jax.Array, aux: Any, batch: Batch
    ) -> dict[str, jax.Array]:
        """As for classification, with what was routed where, and the box if any."""
        outputs = {
            **super().outputs(logits, aux, batch),
            "routed": aux["mask"],
            "scores": aux["attention_scores"],
            "expected_flops": aux["expected_flops"],
            "actual_flops": aux["actual_flops"],
            "threshold": jnp.broadcast_to(aux["threshold"], len(logits)),
        }
        return outputs | {key: batch[key] for key in ("box",) if key in batch}

    def routing_summary(self, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """What the router did with a split."""
        found = evaluation.summarize_routing(
            outputs["routed"],
            outputs["scores"],
            outputs.get("box"),
            self.info.image_shape[0],
        )
        return {
            **found,
            "threshold": float(outputs["threshold"].mean()),
            "expected_mflops": float(outputs["expected_flops"].mean() / 1e6),
            "mflops": float(outputs["actual_flops"].mean() / 1e6),
        }

    def summarize(self, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """The evaluation of all examples of a split, JSON-able."""
        return {
            **super().summarize(outputs),
            "routing": self.routing_summary(outputs),
        }

    def scalars(self, outputs: dict[str, np.ndarray]) -> dict[str, float]:
        """What is logged of a split during training."""
        routing = self.routing_summary(outputs)
        found = super().scalars(outputs) | {
            "routing_ratio": routing["ratio"],
            "threshold": routing["threshold"],
            "score_std": routing["score_std"],
            "none_selected": routing["none_selected"],
            "all_selected": routing["all_selected"],
            "mflops": routing["mflops"],
        }
        if routing.get("target_recall") is not None:
            found["target_recall"] = routing["target_recall"]
        return found

    def curves(self, rows: list[dict[str, Any]], directory: pathlib.Path) -> None:
        """Training curves, and what the router did over the run."""
        from tokenjax import plots

        super().curves(rows, directory)
        path = directory / "routing_curves.png"
        plots.routing_curves(rows, path, self.model.target_ratio)
