"""Rows of small pictures: what a model looked at, image by image.

One function for each kind of model; `looks` says which reports what. Every one takes
images (n, h, w, 1 or 3) and looks, as `looks.draw_looks` does. Patches that are on no
square grid are passed over.
"""

from collections.abc import Mapping

import numpy as np

from tokenjax.plots import small_pictures as small
from tokenjax.plots.images import evenly_chosen, find_grid, grid_side
from tokenjax.plots.small_pictures import Row

Looks = Mapping[str, np.ndarray]
MOST_BLOCKS = 2  # of attention; of pruning's stages one more
MOST_STAGES = 3
HIGHEST_RATIO = 16.0


def image_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return the images, each with its target if it has one."""
    return [Row("image", _boxed(small.enlarge(images), images, looks))]


def routing_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return scores as heat, patches by where they went, and scores in numbers.

    Scores that are all the same, as those of a model that does not route, are left out.
    """
    if not grid_side(looks["mask"].shape[-1]):
        return []
    scores, masks = _squares(looks["attention_scores"]), _squares(looks["mask"]) >= 0.5
    pictures = small.enlarge(images)
    routed = small.fade(pictures, masks, small.ROUTED)
    share = f"to the big\nnetwork: {masks.mean():.0%}"
    rows = [Row(share, _boxed(routed, images, looks))]
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        return rows
    hot = small.heat(pictures, scores, low, high)
    label = f"attention\nscores\n{low:.2f} to {high:.2f}"
    rows.insert(0, Row(label, _boxed(hot, images, looks)))
    numbered = small.write_numbers(
        small.outline(hot, masks, small.ROUTED), scores, low, high
    )
    if numbered is not None:
        threshold = float(np.mean(looks.get("threshold", np.nan)))
        against = f"\nthreshold\n{threshold:.2f}" if np.isfinite(threshold) else ""
        rows.append(Row(f"patch scores{against}", numbered))
    return rows


def kept_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return which patches are left after some stages of pruning."""
    masks = looks["keep_masks"]  # (stages, n, patches)
    if not grid_side(masks.shape[-1]):
        return []
    pictures = small.enlarge(images)
    return [
        Row(
            f"stage {stage + 1}:\n{masks[stage].mean():.0%} kept",
            small.fade(pictures, _squares(masks[stage]) > 0),
        )
        for stage in evenly_chosen(len(masks), MOST_STAGES)
    ]


def region_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return which patches are one token after some of the blocks that reduce."""
    held, blocks = looks["token_regions"], looks["reducing_blocks"]
    pictures = small.enlarge(images)
    rows, columns = find_grid(held.shape[-1], images.shape[1:3])
    made = []
    for index in evenly_chosen(len(held), MOST_STAGES):
        maps = held[index].reshape(-1, rows, columns)
        drawn = small.fill_regions(pictures, maps)
        left = np.mean([len(set(each[each >= 0].tolist())) for each in maps])
        label = f"block {blocks[index, 0] + 1}:\n{left:.0f} of {maps[0].size}\ntokens"
        made.append(Row(label, drawn))
    return made


def class_attention_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return the class token's attention in the first block and the last."""
    return _attention_rows(
        images, looks["class_attention"], "attention of\nclass token"
    )


def received_attention_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return the attention that each patch gets of all, in the first and last block."""
    return _attention_rows(
        images, looks["received_attention"], "attention of\nall tokens"
    )


def pooling_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return each token's share in the class token that pooling makes."""
    shares = looks["alp_shares"]  # (n, patches)
    if not grid_side(shares.shape[-1]):
        return []
    return [_ratio_row(images, shares, "share in the\nclass token")]


def gradient_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Return how much the score of the predicted class changes with each place.

    Every image's strongest place is the brightest.
    """
    maps = looks["input_gradient"]  # (n, rows, columns)
    most = np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    pictures = small.heat(small.enlarge(images), maps / most, 0, 1, 0.5)
    return [Row("what the\nscore changes\nwith", pictures)]


def selection_rows(
    images: Mapping[str, np.ndarray],
    scores: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    grid: tuple[int, int],
) -> list[Row]:
    """Return the images of all modalities, their tokens' scores, and which are kept.

    Args:
      images: by modality (n, h, w, 1 or 3).
      scores, masks: by modality (n, rows * columns).
      grid: rows and columns.
    """
    pictures = {name: small.enlarge(of) for name, of in images.items()}
    every = np.stack([scores[name] for name in images])
    low, high = float(every.min()), float(every.max())
    share = np.mean([masks[name].mean() for name in images])
    hot = [
        small.heat(of, scores[name].reshape(-1, *grid), low, high)
        for name, of in pictures.items()
    ]
    kept = [
        small.fade(of, masks[name].reshape(-1, *grid) > 0)
        for name, of in pictures.items()
    ]
    return [
        Row("\n".join(images), small.side_by_side(list(pictures.values()))),
        Row(f"scores\n{low:.3g} to\n{high:.3g}", small.side_by_side(hot)),
        Row(f"tokens kept:\n{share:.0%}", small.side_by_side(kept)),
    ]


def gradient_rows_by_modality(
    images: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]
) -> list[Row]:
    """Return the images of all modalities, and what the feature changes with.

    `maps`: by modality (n, rows, columns); the strongest of a sample is the brightest.
    """
    pictures = {name: small.enlarge(of) for name, of in images.items()}
    most = np.max([maps[name].max(axis=(1, 2)) for name in images], axis=0)
    most = np.maximum(most, np.finfo(np.float32).tiny)[:, None, None]
    hot = [
        small.heat(of, maps[name] / most, 0, 1, 0.5) for name, of in pictures.items()
    ]
    return [
        Row("\n".join(images), small.side_by_side(list(pictures.values()))),
        Row("what the\nfeature\nchanges with", small.side_by_side(hot)),
    ]


def _attention_rows(images: np.ndarray, blocks: np.ndarray, label: str) -> list[Row]:
    """Return rows of attention (depth, n, patches), sums of 1 over the patches."""
    if not grid_side(blocks.shape[-1]):
        return []
    return [
        _ratio_row(images, blocks[block], f"{label},\nblock {block + 1}")
        for block in evenly_chosen(len(blocks), MOST_BLOCKS)
    ]


def _ratio_row(images: np.ndarray, shares: np.ndarray, label: str) -> Row:
    """Draw shares (n, patches) as multiples of what each would have, were all alike.

    Patches of share 0 are not there.
    """
    ratios = _squares(shares.astype(np.float64)) * shares.shape[-1]
    top = float(np.clip(np.percentile(ratios, 99.5), 2, HIGHEST_RATIO))
    ratios = np.where(ratios > 0, ratios, np.nan)
    pictures = small.heat(small.enlarge(images), ratios, 0, top, 0.5)
    return Row(f"{label}\n(0 to {top:.1f}×)", pictures)


def _squares(maps: np.ndarray) -> np.ndarray:
    """Return maps (n, g * g) as (n, g, g)."""
    side = grid_side(maps.shape[-1])
    return np.asarray(maps).reshape(-1, side, side)


def _boxed(pictures: np.ndarray, images: np.ndarray, looks: Looks) -> np.ndarray:
    return small.draw_boxes(pictures, looks.get("box"), images.shape[1:3])
