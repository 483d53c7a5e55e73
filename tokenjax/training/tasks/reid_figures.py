"""Figures of a re-identification run, and the arrays that they show."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax import evaluation
from tokenjax.data import Split
from tokenjax.ops import token_selection

if TYPE_CHECKING:
    from tokenjax.training.tasks.reid import Reidentification

SAMPLES = 6  # whose tokens are drawn
QUERIES = 8  # whose rank lists are drawn
LISTED = 10
FEWEST_POINTS = 4  # of a map of the features


def roles(outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are queries and gallery; all are both where the split has none."""
    everyone = np.ones(len(outputs["label"]), bool)
    return outputs.get("query", everyone), outputs.get("gallery", everyone)


def spread(split: Split, count: int) -> np.ndarray:
    """Indices of so many examples, from the first to the last identity."""
    order = np.argsort(split.labels, kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return order[places.round().astype(int)]


def look(task: "Reidentification", variables: Any, split: Split) -> dict[str, Any]:
    """What SDTPS did with some examples.

    Returns: {} for a model without it; else dicts by modality "images" (n, h, w, 3)
    uint8, "mask" and "scores" (n, p), "weights" (n, a, p), the share of every patch of
    the grid in every aggregated token.
    """
    if getattr(task.model, "fusion", "") != "sdtps":
        return {}
    batch = split.gather(spread(split, SAMPLES))

    @jax.jit
    def apply(variables: Any, batch: Any) -> dict[str, Any]:
        images = task.prepare(batch)
        aux = task.model.apply(variables, images, batch["camera"])["aux"]
        weights = {
            name: token_selection.scatter_tokens(
                aux["aggregation"][name].swapaxes(1, 2), indices, mask.shape[1]
            ).swapaxes(1, 2)
            for (name, indices), mask in zip(
                aux["keep_indices"].items(), aux["mask"].values(), strict=True
            )
        }
        return {"mask": aux["mask"], "scores": aux["scores"], "weights": weights}

    found = jax.device_get(apply(variables, jax.tree.map(jnp.asarray, batch)))
    names = task.info.modalities
    return {"images": {name: batch[name] for name in names}, **found}


def draw(
    task: "Reidentification",
    directory: pathlib.Path,
    summary: dict[str, Any],
    looks: dict[str, Any],
    outputs: dict[str, np.ndarray],
    split: Split,
) -> None:
    """Writes all figures of an evaluation."""
    from tokenjax import plots

    curves = {name: np.array(s["cmc"]) for name, s in summary["features"].items()}
    plots.cmc_curve(curves, directory / "cmc.png", summary["chance"]["rank1"])
    feature = outputs[task.settings.reid.feature]
    if len(feature) >= FEWEST_POINTS:
        path = directory / "feature_map.png"
        plots.feature_map(feature, outputs["label"], outputs["camera"], path)
    _rank_lists(task, directory, outputs, split)
    if looks:
        images, grid = looks["images"], task.model.grid
        kept = directory / "kept_tokens.png"
        plots.kept_by_modality(images, looks["mask"], grid, kept)
        scores = directory / "selection_scores.png"
        plots.selection_scores(images, looks["scores"], grid, scores)
        if task.model.make_sdtps().aggregated:
            weights = directory / "aggregation_weights.png"
            plots.aggregation_weights(images, looks["weights"], grid, weights)


def _rank_lists(
    task: "Reidentification",
    directory: pathlib.Path,
    outputs: dict[str, np.ndarray],
    split: Split,
) -> None:
    """Some queries with what was found for each, by the first modality's images."""
    from tokenjax import plots

    queries, gallery = (np.flatnonzero(role) for role in roles(outputs))
    order = queries[np.argsort(outputs["label"][queries], kind="stable")]
    places = np.linspace(0, len(order) - 1, min(QUERIES, len(order)))
    chosen = order[places.round().astype(int)]
    vectors = outputs[task.settings.reid.feature]
    labels, groups = outputs["label"], outputs[task.info.same]
    indices, matches = evaluation.rank_lists(
        vectors[chosen],
        vectors[gallery],
        labels[chosen],
        labels[gallery],
        groups[chosen],
        groups[gallery],
        LISTED,
    )
    valid = indices >= 0
    found = gallery[np.where(valid, indices, 0)]  # (q, k)
    for name in task.info.modalities:
        nearest = split.gather(found.ravel())[name]
        plots.rank_lists(
            split.gather(chosen)[name],
            nearest.reshape(*found.shape, *nearest.shape[1:]),
            matches,
            valid,
            directory / f"rank_lists_{name}.png",
        )
