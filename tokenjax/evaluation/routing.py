"""Statistics of routing: how much, how decidedly, and whether where the target is."""

import numpy as np

FILLED = 0.5  # a patch belongs to the target if its box covers so much of it


def target_patches(
    boxes: np.ndarray, image_size: int, grid: int, filled: float = FILLED
) -> np.ndarray:
    """Return which patches a box fills by a share of at least `filled`.

    Args:
      boxes: (n, 4) top, left, bottom, right in pixels, bottom and right excluded.
      image_size: pixels a side of the image, which `grid` divides into patches.

    Returns: (n, grid * grid) bool, by rows.
    """
    side = image_size / grid
    edges = np.arange(grid) * side  # (grid,)

    def overlap(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Return the share of each strip between first and last, (n, grid)."""
        low = np.maximum(first[:, None], edges)
        high = np.minimum(last[:, None], edges + side)
        return np.maximum(high - low, 0) / side

    boxes = np.asarray(boxes, np.float64)
    rows = overlap(boxes[:, 0], boxes[:, 2])
    columns = overlap(boxes[:, 1], boxes[:, 3])
    share = rows[:, :, None] * columns[:, None, :]  # (n, grid, grid)
    return share.reshape(len(boxes), grid * grid) >= filled - 1e-9


def summarize_routing(
    masks: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray | None = None,
    image_size: int = 0,
) -> dict[str, float | None]:
    """Compute statistics of a split's routing, as plain numbers for `json.dump`.

    Args:
      masks: (n, patches), 1 for patches sent to the big network.
      scores: (n, patches).
      boxes: (n, 4), the target's, as `target_patches` wants them; with `image_size`.

    Returns:
      "ratio", mean share of patches sent, and "ratio_std" over images, None of a single
      one; "none_selected" and "all_selected", shares of images; "score_mean", and
      "score_std" over the patches of an image (mean over images); with boxes
      "target_recall", the share of all target patches that were sent, "target_patches",
      how many an image has, and "other_ratio", the share of all other patches that were
      sent. A share of no patches is None.
    """
    masks = np.asarray(masks, np.float64)
    scores = np.asarray(scores, np.float64)
    if masks.ndim != 2 or masks.shape != scores.shape or not len(masks):
        raise ValueError(
            "masks and scores must both be (n, patches), "
            f"got shapes {masks.shape} and {scores.shape}"
        )
    ratio = masks.mean(axis=1)  # (n,)
    found: dict[str, float | None] = {
        "ratio": float(ratio.mean()),
        "ratio_std": float(ratio.std()) if len(ratio) > 1 else None,
        "none_selected": float((ratio == 0).mean()),
        "all_selected": float((ratio == 1).mean()),
        "score_mean": float(scores.mean()),
        "score_std": float(scores.std(axis=1).mean()),
    }
    if boxes is None:
        return found
    grid = round(masks.shape[1] ** 0.5)
    if grid * grid != masks.shape[1] or image_size < 1:
        raise ValueError(
            "boxes need an image_size above 0 and patches on a square grid, "
            f"got {image_size} and {masks.shape[1]} patches"
        )
    target = target_patches(boxes, image_size, grid)
    return found | {
        "target_recall": _mean(masks[target]),
        "target_patches": float(target.sum(axis=1).mean()),
        "other_ratio": _mean(masks[~target]),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
