"""Figures of what a model looked at, drawn for whatever it reports in `aux`."""

import pathlib
from collections.abc import Mapping

import numpy as np

from tokenjax.plots.image_panels import grid_side
from tokenjax.plots.tokens import class_attention, kept_patches
from tokenjax.plots.vdpa import alpha_per_block, effective_keys, pooling_weights

SHOWN_IMAGES = 4


def draw_looks(
    images: np.ndarray, looks: Mapping[str, np.ndarray], directory: pathlib.Path
) -> list[pathlib.Path]:
    """Draws one figure for each report that there is a drawing for.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1.
      looks: "alpha" (depth, n); "effective_keys" (depth, n) with "num_keys" (n,);
        "alp_shares" (n, g * g) with "alp_weights" (n, g * g, 9); "keep_masks" (stages,
        n, patches); "class_attention" (depth, n, patches). Others are ignored, and so
        are patches that are on no square grid.
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
    return drawn
