"""Figures of a re-identification run, and the arrays that they show."""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict
from jax.sharding import Mesh

from tokenjax import evaluation, plots
from tokenjax.data import ReidInfo, Split
from tokenjax.data.reid_dataset import DISTRACTOR
from tokenjax.models import contract
from tokenjax.plots import look_rows
from tokenjax.training import inference
from tokenjax.training.state import Batch
from tokenjax.training.tasks import task
from tokenjax.training.tasks.task import Looks, Outputs, Summary

Prepare: TypeAlias = Callable[[Batch], Mapping[str, jax.Array]]

SAMPLES = 6  # whose tokens are drawn
QUERIES = 8  # whose rank lists are drawn
LISTED = 10
FEWEST_POINTS = 4  # of a map of the features


def roles(outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which examples are queries and gallery; all are both in some splits."""
    everyone = np.ones(len(outputs["label"]), bool)
    return outputs.get("query", everyone), outputs.get("gallery", everyone)


def selects(model: contract.Model) -> bool:
    """Return whether a model chooses tokens in each modality."""
    return isinstance(model, contract.SelectsTokens) and model.selects_tokens()


def reduces(model: contract.Model) -> bool:
    """Return whether a model's later blocks have fewer tokens."""
    return isinstance(model, contract.ReducesTokens) and model.reduction is not None


def look(
    model: contract.Model,
    prepare: Prepare,
    modalities: Sequence[str],
    variables: VariableDict,
    split: Split,
) -> Looks:
    """Return which tokens a model chose of some examples, and which are left to it.

    Returns: dicts by modality "images" (n, h, w, 3) uint8; of a model that selects
    "mask" and "scores" (n, p), "weights" (n, a, p), the share of every patch of the
    grid in every aggregated token; of one that reduces "regions" (blocks, n, p), the
    token that holds each patch, and "blocks" (blocks,).
    """
    batch = split.gather(task.spread(split, SAMPLES))

    def find(variables: VariableDict, batch: Batch) -> dict[str, Any]:
        outputs = model.apply(variables, prepare(batch), batch["camera"])
        chosen: Mapping[str, contract.ByModality] = {}
        if isinstance(model, contract.SelectsTokens) and selects(model):
            chosen = model.selection(outputs)
        return {**chosen, **_regions(outputs["aux"]["reduction"])}

    found = jax.device_get(jax.jit(find)(variables, jax.tree.map(jnp.asarray, batch)))
    return {"images": {name: batch[name] for name in modalities}, **found}


def _regions(accounts: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return "regions" by modality and "blocks", nothing where no block reduces."""
    regions, blocks = {}, []
    for name, account in accounts.items():
        done = [index for index, entry in enumerate(account) if entry is not None]
        if done:
            regions[name] = jnp.stack([account[index]["patches"] for index in done])
            blocks = done
    return {"regions": regions, "blocks": jnp.array(blocks)} if regions else {}


def selection(
    model: contract.SelectsTokens,
    prepare: Prepare,
    variables: VariableDict,
    batch: Batch,
) -> Mapping[str, contract.ByModality]:
    """Return which tokens a model chose, as `contract.SelectsTokens` says."""
    outputs = model.apply(variables, prepare(batch), batch["camera"])
    return model.selection(outputs)


def watch(
    model: contract.Retrieves,
    prepare: Prepare,
    info: ReidInfo,
    feature: str,
    split: Split,
    count: int,
    mesh: Mesh,
) -> task.Watch:
    """Return what shows the tokens that a model chooses of some examples.

    Of a model that chooses none, what the length of a feature changes with.
    """
    names = info.modalities
    batch = split.gather(task.spread(split, count))
    images = {name: batch[name] for name in names}
    needed = {key: batch[key] for key in (*names, "present", "camera")}
    if isinstance(model, contract.SelectsTokens) and selects(model):
        grid = model.grid
        look = functools.partial(selection, model, prepare)

        def draw(looks: Looks) -> list[plots.Row]:
            return look_rows.selection_rows(
                images, looks["scores"], looks["mask"], grid
            )

    else:

        def look(variables: VariableDict, batch: Batch) -> Looks:
            def score(inputs: Mapping[str, jax.Array]) -> jax.Array:
                outputs = model.apply(variables, inputs, batch["camera"])
                return jnp.linalg.norm(outputs["features"][feature], axis=-1)

            return {"gradients": inference.weigh_places(score, prepare(batch))}

        def draw(looks: Looks) -> list[plots.Row]:
            return look_rows.gradient_rows_by_modality(images, looks["gradients"])

    look_again = inference.compile_few(mesh, look, needed)
    return task.Watch(look_again, lambda looks: task.Shown(draw(looks)))


def draw_retrieval(
    directory: pathlib.Path, summary: Summary, outputs: Outputs, feature: str
) -> None:
    """Draw the matches by rank, and a map of the feature that retrieval goes by."""
    curves = {name: np.array(s["cmc"]) for name, s in summary["features"].items()}
    chance = np.array(summary["chance"]["cmc"])
    plots.cmc_curve(curves, directory / "cmc.png", chance)
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
    images, weights = looks["images"], looks["weights"]
    kept = directory / "kept_tokens.png"
    plots.kept_by_modality(images, looks["mask"], grid, kept)
    scores = directory / "selection_scores.png"
    plots.selection_scores(images, looks["scores"], grid, scores)
    if all(each.shape[1] for each in weights.values()):  # there are aggregated tokens
        path = directory / "aggregation_weights.png"
        plots.aggregation_weights(images, weights, grid, path)


def draw_regions(directory: pathlib.Path, looks: Looks) -> None:
    """Draw which patches are one token after each block, of every modality."""
    blocks = looks["blocks"].tolist()
    for name, held in looks["regions"].items():
        path = directory / f"token_regions_{name}.png"
        plots.token_regions(looks["images"][name], held, blocks, path)


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
