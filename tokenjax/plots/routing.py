"""Which patches a router sends to the big network, and by which scores."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import DROPPED, displayable, faded

MOST_HEAT_MAPS = 8
MOST_ROUTED = 16
MOST_NUMBERED = 4
COLUMNS = 8  # images in a row of `routed_patches`
LARGEST_NUMBERED_GRID = 10
HEAT = "inferno"
ROUTED = files.SKY
ROUNDING = 1e-5  # how far above 1 a sum of float32 may come


@files.styled
def attention_scores(
    images: np.ndarray,
    scores: np.ndarray,
    path: str | os.PathLike[str],
    boxes: np.ndarray | None = None,
) -> pathlib.Path:
    """Draw the score of every patch as heat, each image above its heat map.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1; the first 8 are drawn.
      scores: (n, g * g) within 0..1, row by row of each image's g x g grid.
      path: the PNG to write.
      boxes: (n, 4), top, left, bottom, right in pixels of what the label is about,
        bounds excluded; drawn as outlines.

    One colour scale for the whole figure, from the least to the greatest score drawn.

    Raises:
      ValueError: shapes that disagree, patches on no square grid, scores outside 0..1
        or boxes that are not finite.
    """
    shown = displayable(images)  # (n, h, w, 3)
    scores = _checked_maps("scores", scores, shown)  # (n, g, g)
    boxes = _checked_boxes(boxes, len(shown))
    shown, scores = shown[:MOST_HEAT_MAPS], scores[:MOST_HEAT_MAPS]
    norm = _norm_of(scores)
    height, width = panels.cell(shown)
    figure, grid = files.new_figure(
        width * len(shown) + 1.4, max(2 * height + 0.05, 2.3), 2, len(shown)
    )
    for column, image, values in zip(grid.T, shown, scores, strict=True):
        panels.picture(column[0], image)
        _heat(column[1], image, values, norm)
    for row in grid:
        panels.draw_boxes(row, boxes)
    panels.without_ticks(grid.flat)
    _score_bar(figure, grid, norm)
    return files.save(figure, path)


@files.styled
def routed_patches(
    images: np.ndarray,
    masks: np.ndarray,
    path: str | os.PathLike[str],
    boxes: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
) -> pathlib.Path:
    """Draw which patches went to the big network, their share above each image.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1; the first 16 are drawn.
      masks: (n, g * g) within 0..1, row by row of each image's g x g grid; patches of
        at least 0.5 are routed to the big network.
      path: the PNG to write.
      boxes: (n, 4), top, left, bottom, right in pixels of what the label is about,
        bounds excluded; drawn as outlines.
      titles: one for each image, written above its share.

    Routed patches are outlined, the others faded.

    Raises:
      ValueError: shapes that disagree, patches on no square grid, masks outside 0..1 or
        boxes that are not finite.
    """
    shown = displayable(images)  # (n, h, w, 3)
    routed = _checked_maps("masks", masks, shown) >= 0.5  # (n, g, g)
    boxes = _checked_boxes(boxes, len(shown))
    if titles is not None and len(titles) != len(shown):
        raise ValueError(f"{len(titles)} titles for {len(shown)} images")
    shown, routed = shown[:MOST_ROUTED], routed[:MOST_ROUTED]
    rows = -(-len(shown) // COLUMNS)
    columns = -(-len(shown) // rows)
    height, width = panels.cell(shown)
    letters = int(9 * width)  # that fit above an image
    above = 0.22 if titles is None else 0.4
    figure, grid = files.new_figure(
        max(width * columns + 0.1, 2.6),
        (height + above) * rows + (0.3 if columns > 3 else 0.8),
        rows,
        columns,
    )
    for index, (axes, image, kept) in enumerate(
        zip(grid.flat, shown, routed, strict=False)
    ):
        panels.picture(axes, faded(image, kept))
        panels.patch_lines(axes, image, kept.shape[0])
        panels.outline_patches(axes, image, kept, ROUTED)
        title = "" if titles is None else f"{files.short(titles[index], letters)}\n"
        axes.set_title(f"{title}{100 * kept.mean():.0f} %", fontsize=10)
    panels.draw_boxes(grid.flat, boxes)
    panels.without_ticks(grid.flat)
    _legend(figure, boxes is not None, columns=3 if columns > 3 else 1)
    return files.save(figure, path)


@files.styled
def patch_scores(
    images: np.ndarray,
    scores: np.ndarray,
    masks: np.ndarray,
    threshold: float,
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draw the scores in numbers, patch by patch, the routed ones outlined.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1; the first 4 are drawn.
      scores: (n, g * g) within 0..1, row by row of each image's g x g grid; colours
        alone where g is above 10.
      masks: (n, g * g) within 0..1; patches of at least 0.5 are routed.
      threshold: what scores were compared with, for the title and the colour bar.
      path: the PNG to write.

    Raises:
      ValueError: shapes that disagree, patches on no square grid, scores or masks
        outside 0..1, or a threshold that is not finite.
    """
    shown = displayable(images)  # (n, h, w, 3)
    scores = _checked_maps("scores", scores, shown)  # (n, g, g)
    routed = _checked_maps("masks", masks, shown) >= 0.5  # (n, g, g)
    if routed.shape != scores.shape:
        raise ValueError("scores and masks must be on the same grid")
    if not np.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}")
    shown, scores = shown[:MOST_NUMBERED], scores[:MOST_NUMBERED]
    norm = _norm_of(scores)
    height, width = panels.cell(shown, 2.6)
    figure, grid = files.new_figure(
        width * len(shown) + 1.3, max(height + 0.5, 2.3), columns=len(shown)
    )
    for axes, image, values, kept in zip(grid[0], shown, scores, routed, strict=False):
        _heat(axes, image, values, norm)
        panels.patch_lines(axes, image, len(values))
        panels.outline_patches(axes, image, kept, ROUTED)
        if len(values) <= LARGEST_NUMBERED_GRID:
            _write_scores(axes, image, values, norm, 72 * width)
        axes.set_title(f"{kept.sum()} of {kept.size} routed", fontsize=10)
    panels.without_ticks(grid.flat)
    figure.suptitle(f"Scores, threshold {threshold:.3g}")
    bar = _score_bar(figure, grid, norm)
    if 0 <= norm(threshold) <= 1:  # or the bar would stretch to it
        bar.ax.axhline(threshold, color=ROUTED, linewidth=2.5)
    return files.save(figure, path)


def _checked_maps(kind: str, maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return maps (n, g * g) within 0..1 as (n, g, g)."""
    maps = np.asarray(maps, np.float64)
    side = panels.check_square_maps(kind, maps, images, stacked=False)
    if not np.all((maps >= 0) & (maps <= 1 + ROUNDING)):  # false for NaN
        raise ValueError(f"{kind} must be within 0..1")
    return maps.reshape(-1, side, side)


def _checked_boxes(boxes: np.ndarray | None, count: int) -> np.ndarray | None:
    if boxes is None:
        return None
    boxes = np.asarray(boxes, np.float64)
    if boxes.shape != (count, 4) or not np.isfinite(boxes).all():
        raise ValueError(f"boxes must be ({count}, 4) finite, got shape {boxes.shape}")
    return boxes


def _norm_of(scores: np.ndarray) -> Normalize:
    """Return the range of the scores, widened where they are all alike."""
    low, high = float(scores.min()), float(scores.max())
    return Normalize(low, high) if high > low else Normalize(low - 0.01, high + 0.01)


def _heat(axes: Axes, image: np.ndarray, values: np.ndarray, norm: Normalize) -> None:
    # Half the image's contrast, so that what shines through cannot pass for heat.
    panels.overlay(axes, 0.25 + 0.5 * image, values, norm, HEAT, 0.75)


def _score_bar(figure: Figure, grid: np.ndarray, norm: Normalize) -> Colorbar:
    bar = figure.colorbar(
        ScalarMappable(norm, HEAT), ax=list(grid.flat), aspect=18, pad=0.02
    )
    bar.set_label("score of the patch\n(colours: range of the data)", fontsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return bar


def _write_scores(
    axes: Axes, image: np.ndarray, values: np.ndarray, norm: Normalize, points: float
) -> None:
    """Write each score (g, g) in its patch, as large as fits."""
    height, width = image.shape[:2]
    side = len(values)
    digits = 2 if values.max() >= 0.1 else 3
    size = min(10.0, points / side / (0.62 * (digits + 2) + 0.7))
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            (column + 0.5) * width / side - 0.5,
            (row + 0.5) * height / side - 0.5,
            f"{value:.{digits}f}",
            ha="center",
            va="center",
            fontsize=size,
            color="black" if norm(value) > 0.66 else "white",
        )


def _legend(figure: Figure, with_targets: bool, columns: int) -> None:
    """Say below the panels what outlines and fading mean."""
    handles = [
        Patch(facecolor="#3C4043", edgecolor=ROUTED, linewidth=2, label="big network"),
        Patch(facecolor=tuple(DROPPED.tolist()), label="small network"),
    ]
    if with_targets:
        handles.append(Patch(label="target", **panels.BOX_STYLE))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, handleheight=1.0
    )
