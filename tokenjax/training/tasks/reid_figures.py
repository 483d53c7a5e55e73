"""Figures of a re-identification run, and the arrays that they show."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict

from tokenjax import evaluation
from tokenjax.data import Split
from tokenjax.data.reid_dataset import DISTRACTOR
from tokenjax.models import contract
from tokenjax.training.state import Batch
from tokenjax.training.tasks.task import Looks, Outputs, Summary

SAMPLES = 6  # whose tokens are drawn
QUERIES = 8  # whose rank lists are drawn
LISTED = 10
FEWEST_POINTS = 4  # of a map of the features


def roles(outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which examples are queries and gallery; all are both in some splits."""
    everyone = np.ones(len(outputs["label"]), bool)
    return outputs.get("query", everyone), outputs.get("gallery", everyone)


def spread(split: Split, count: int) -> np.ndarray:
    """Return the indices of so many examples, from the first to the last identity."""
    order = np.argsort(split.labels, kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return order[places.round().astype(int)]


def look(
    model: contract.SelectsTokens,
    prepare: Callable[[Batch], Mapping[str, jax.Array]],
    modalities: Sequence[str],
    variables: VariableDict,
    split: Split,
) -> Looks:
    """Return which tokens a model that selects some chose of some examples.

    Returns: dicts by modality "images" (n, h, w, 3) uint8, "mask" and "scores" (n, p),
    "weights" (n, a, p), the share of every patch of the grid in every aggregated token.
    """
    batch = split.gather(spread(split, SAMPLES))

    @jax.jit
    def apply(
        variables: VariableDict, batch: Batch
    ) -> Mapping[str, contract.ByModality]:
        outputs = model.apply(variables, prepare(batch), batch["camera"])
        return model.selection(outputs)

    found = jax.device_get(apply(variables, jax.tree.map(jnp.asarray, batch)))
    return {"images": {name: batch[name] for name in modalities}, **found}


def draw_retrieval(
    directory: pathlib.Path, summary: Summary, outputs: Outputs, feature: str
) -> None:
    """Draw the matches by rank, and a map of the feature that retrieval goes by."""
    from tokenjax import plots

    curves = {name: np.array(s["cmc"]) for name, s in summary["features"].items()}
    plots.cmc_curve(curves, directory / "cmc.png", summary["chance"]["rank1"])
    shown = np.ones(len(outputs["label"]), bool)
    if "query" in outputs:  # of a split with raw identities
        shown = outputs["label"] != DISTRACTOR  # as many persons as images
    if shown.sum() >= FEWEST_POINTS:
        path = directory / "feature_map.png"
        plots.feature_map(
            *(outputs[key][shown] for key in (feature, "label", "camera")), path
        )


def draw_selection(
    directory: pathlib.Path, looks: Looks, grid: tuple[int, int]
) -> None:
    """Draw the tokens that were kept, by what score, and what they went into."""
    from tokenjax import plots

    images, weights = looks["images"], looks["weights"]
    kept = directory / "kept_tokens.png"
    plots.kept_by_modality(images, looks["mask"], grid, kept)
    scores = directory / "selection_scores.png"
    plots.selection_scores(images, looks["scores"], grid, scores)
    if all(each.shape[1] for each in weights.values()):  # there are aggregated tokens
        path = directory / "aggregation_weights.png"
        plots.aggregation_weights(images, weights, grid, path)


def draw_rank_lists(
    directory: pathlib.Path,
    outputs: Outputs,
    split: Split,
    feature: str,
    same: str,
    modalities: Sequence[str],
) -> None:
    """Draw some queries with what was found for each, by every modality's images.

    They are of those that have a match, which alone are scored.

    `same`: the output that a match must differ in, a camera or a scene.
    """
    from tokenjax import plots

    queries, gallery = (np.flatnonzero(role) for role in roles(outputs))
    vectors, labels, groups = outputs[feature], outputs["label"], outputs[same]
    counts = evaluation.count_matches(
        labels[queries], labels[gallery], groups[queries], groups[gallery]
    )
    queries = queries[counts > 0]
    order = queries[np.argsort(labels[queries], kind="stable")]
    places = np.linspace(0, len(order) - 1, min(QUERIES, len(order)))
    chosen = order[places.round().astype(int)]
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
    for name in modalities:
        nearest = split.gather(found.ravel())[name]
        plots.rank_lists(
            split.gather(chosen)[name],
            nearest.reshape(*found.shape, *nearest.shape[1:]),
            matches,
            valid,
            directory / f"rank_lists_{name}.png",
        )
