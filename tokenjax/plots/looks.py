"""Figures of what a model looked at, drawn for whatever it reports in `aux`."""

import pathlib
from collections.abc import Mapping

import numpy as np

from tokenjax.plots.image_panels import grid_side
from tokenjax.plots.routing import attention_scores, patch_scores, routed_patches
from tokenjax.plots.tokens import class_attention, kept_patches
from tokenjax.plots.vdpa import alpha_per_block, effective_keys, pooling_weights

SHOWN_IMAGES = 4
SAME_SCORES = 1e-6  # a range of float32 scores that rounding alone makes


def draw_looks(
    images: np.ndarray, looks: Mapping[str, np.ndarray], directory: pathlib.Path
) -> list[pathlib.Path]:
    """Draws one figure for each report that there is a drawing for.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1.
      looks: "alpha" (depth, n); "effective_keys" (depth, n) with "num_keys" (n,);
        "alp_shares" (n, g * g) with "alp_weights" (n, g * g, 9); "keep_masks" (stages,
        n, patches); "class_attention" (depth, n, patches); "attention_scores" (n,
        patches) with "mask" (n, patches) and, where there are any, "threshold" (n,)
        and "box" (n, 4). Others are ignored, and so are patches that are on no square
        grid.
      directory: where the PNGs go.
    """
    drawn = []
    if "alpha" in looks:
        path = directory / "alpha_per_block.png"
        drawn.append(alpha_per_block(looks["alpha"], path))
    if "effective_keys" in looks:
        path = directory / "effective_keys.png"
        num_keys = int(looks["num_keys"][0])
        drawn.append(effective_keys(looks["effective_keys"], num_keys, path))
    if "alp_shares" in looks:
        shares, weights = looks["alp_shares"], looks["alp_weights"]
        grid = round(shares.shape[1] ** 0.5)
        maps = shares.reshape(-1, grid, grid)[:SHOWN_IMAGES]
        path = directory / "pooling_weights.png"
        drawn.append(
            pooling_weights(images[:SHOWN_IMAGES], weights[:SHOWN_IMAGES], maps, path)
        )
    for key, draw, name in (
        ("keep_masks", kept_patches, "kept_patches.png"),
        ("class_attention", class_attention, "class_attention.png"),
    ):
        if key in looks and grid_side(looks[key].shape[-1]):
            maps = looks[key][:, :SHOWN_IMAGES]  # (stages or depth, n, patches)
            drawn.append(draw(images[:SHOWN_IMAGES], maps, directory / name))
    if "attention_scores" in looks and "mask" in looks:
        drawn += _draw_routing(images, looks, directory)
    return drawn


def _draw_routing(
    images: np.ndarray, looks: Mapping[str, np.ndarray], directory: pathlib.Path
) -> list[pathlib.Path]:
    """What a router chose and, unless every patch has the same score, by what."""
    scores, masks, boxes = looks["attention_scores"], looks["mask"], looks.get("box")
    if not grid_side(scores.shape[-1]):
        return []
    drawn = [routed_patches(images, masks, directory / "routed_patches.png", boxes)]
    if np.ptp(scores) > SAME_SCORES:
        path = directory / "attention_scores.png"
        drawn.append(attention_scores(images, scores, path, boxes))
        threshold = float(np.mean(looks.get("threshold", np.nan)))
        if np.isfinite(threshold):  # a learned gate may have none
            path = directory / "patch_scores.png"
            drawn.append(patch_scores(images, scores, masks, threshold, path))
    return drawn
