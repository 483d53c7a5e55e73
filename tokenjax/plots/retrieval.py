"""How well re-identification finds images: rank lists, CMC curves, a map of features.

The curve of cumulative matching characteristics (CMC) has at rank k the share of
queries with at least one right image among their k nearest.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tokenjax.plots import figure_files as files
from tokenjax.plots import image_panels as panels
from tokenjax.plots.images import displayable, evenly_chosen
from tokenjax.plots.modalities import NARROW, grouped_panels
from tokenjax.plots.variant_curves import COLOURS, Line

MOST_QUERIES = 8
RIGHT, WRONG = files.GREEN, files.VERMILION
LOOKS: tuple[tuple[str, Line, str], ...] = (  # colour, line and meaning of a frame
    (RIGHT, "-", "✓ the query's identity"),
    (WRONG, (0, (2.2, 1.2)), "✗ another one"),
)
RANKS = (1, 5, 10, 20, 50)
LINES = ("-", "--", "-.", ":")
MARKERS = "os^DvPX*<>ph"
MOST_POINTS, MOST_PERPLEXITY = 400, 30.0
ALIKE = 1e-4  # standard deviation of features of length 1


@files.styled
def rank_lists(
    query_images: np.ndarray,
    gallery_images: np.ndarray,
    matches: np.ndarray,
    valid: np.ndarray,
    path: str | os.PathLike[str],
    captions: Sequence[str] | None = None,
) -> pathlib.Path:
    """Draw queries and the images nearest to each, nearest first, a row per query.

    Args:
      query_images: (q, h, w, 1 or 3), uint8 or float in 0..1; the first 8 are drawn.
      gallery_images: (q, k, h, w, 1 or 3), the k nearest of each.
      matches: (q, k), true where the image shows the query's identity.
      valid: (q, k), false where a ranking has ended; such places stay empty.
      path: the PNG to write.
      captions: one for each query, written beside it; may have several lines.

    Right images have a green frame and a tick, wrong ones a red dashed one and a cross.

    Raises:
      ValueError: shapes that disagree.
    """
    queries = displayable(query_images)  # (q, h, w, 3)
    gallery = np.asarray(gallery_images)  # (q, k, h, w, 3)
    given = [np.asarray(of, bool) for of in (matches, valid)]
    _check_rankings(len(queries), gallery, given, captions)
    queries, marks = queries[:MOST_QUERIES], np.stack(given)[:, :MOST_QUERIES]
    rows, columns = [len(queries)], [1, gallery.shape[1]]
    cell = panels.cell(queries, 1.3)
    figure, grid = grouped_panels(rows, columns, cell, 0.04, 1.2, 0.85)
    for row, query in enumerate(queries):
        panels.picture(grid[row, 0], query)
        images = displayable(gallery[row])  # (k, h, w, 3)
        for axes, image, (match, there) in zip(
            grid[row, 1:], images, marks[:, row].T, strict=True
        ):
            if there:
                _framed(axes, image, bool(match))
            else:
                axes.text(0.5, 0.5, "—", ha="center", color=files.GREY)
    grid[0, 0].set_title("query", fontsize=10, fontweight="bold")
    for rank, axes in enumerate(grid[0, 1:], start=1):
        axes.set_title(f"{rank}", fontsize=10)
    for axes, caption in zip(grid[:, 0], captions or [], strict=False):
        text = "\n".join(files.short(line, 22) for line in caption.splitlines())
        style: files.Style = {"rotation": 0, "ha": "right", "va": "center"}
        axes.set_ylabel(text, fontsize=9, **style)
    found = int(marks[:, :, 0].all(axis=0).sum())
    between = ": " if figure.get_figwidth() > NARROW else "\n"
    figure.suptitle(
        f"Nearest in the gallery{between}{found} of {len(queries)} right at rank 1"
    )
    for colour, line, label in LOOKS:
        grid[0, 0].plot([], [], linestyle=line, color=colour, linewidth=3, label=label)
    figure.legend(loc="outside lower center", ncols=2)
    return files.save(figure, path)


def _check_rankings(
    count: int,
    gallery: np.ndarray,
    marks: Sequence[np.ndarray],
    captions: Sequence[str] | None,
) -> None:
    if gallery.ndim != 5 or 0 in gallery.shape or len(gallery) != count:
        raise ValueError(
            f"gallery_images must be ({count}, k, height, width, 1 or 3) for {count} "
            f"queries, got shape {gallery.shape}"
        )
    wanted = gallery.shape[:2]
    for kind, values in zip(("matches", "valid"), marks, strict=True):
        if values.shape != wanted:
            raise ValueError(f"{kind} must be {wanted}, got shape {values.shape}")
    if captions is not None and len(captions) != count:
        raise ValueError(f"{len(captions)} captions for {count} queries")


def _framed(axes: Axes, image: np.ndarray, right: bool) -> None:
    """Draw an image (h, w, 3), framed and marked by whether it is right."""
    panels.picture(axes, image)
    colour, line, meaning = LOOKS[0 if right else 1]
    axes.spines[:].set(visible=True, color=colour, linewidth=3, linestyle=line)
    badge = {"boxstyle": "circle,pad=0.12", "facecolor": colour, "edgecolor": "white"}
    axes.annotate(
        meaning[0],
        (1, 1),
        xytext=(-9, -9),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=8.5,
        color="white",
        bbox=badge,
    )


@files.styled
def cmc_curve(
    curves: Mapping[str, np.ndarray],
    path: str | os.PathLike[str],
    chance: np.ndarray | None = None,
) -> pathlib.Path:
    """Draw matching rates over ranks, one line for each feature.

    Args:
      curves: by feature (ranks,), fractions that never fall, the first at rank 1.
      path: the PNG to write.
      chance: (ranks,) what a random ranking reaches, likewise; rates then begin at 0.

    Raises:
      ValueError: no curves, values outside 0..1, or a curve that falls.
    """
    checked = {name: _checked_rates(name, of) for name, of in curves.items()}
    if not checked:
        raise ValueError("no curves to draw")
    random = None if chance is None else _checked_rates("chance", chance)
    figure, grid = files.new_figure(6.8, 4.4)
    axes = grid[0, 0]
    for index, (name, of) in enumerate(checked.items()):
        axes.plot(
            np.arange(1, len(of) + 1),
            100 * of,
            color=files.COLOURS[index % len(files.COLOURS)],
            linestyle=LINES[index % len(LINES)],
            linewidth=2,
            marker="o" if len(of) == 1 else None,
            label=f"{files.short(name, 28)}: rank-1 {100 * of[0]:.1f} %",
        )
    if random is not None:
        axes.plot(
            np.arange(1, len(random) + 1),
            100 * random,
            color=files.GREY,
            linewidth=1.2,
            marker="o" if len(random) == 1 else None,
            label=f"chance: rank-1 {100 * random[0]:.1f} %",
        )
    last = max(map(len, checked.values()))
    lowest = 0.0 if random is not None else min(100 * of[0] for of in checked.values())
    axes.set_xlim(1 - 0.02 * last, last + 0.02 * last)
    axes.set_xticks([rank for rank in RANKS if rank <= last])
    axes.set_ylim(max(10 * np.floor((lowest - 3) / 10), -2), 102)
    axes.set(title="Matching rate by rank", xlabel="rank", ylabel="matching rate (%)")
    axes.legend(loc="lower right" if lowest >= 20 else "best")
    files.light_grid(axes)
    return files.save(figure, path)


def _checked_rates(name: str, rates: np.ndarray) -> np.ndarray:
    """Return rates (ranks,) as float64."""
    rates = np.asarray(rates, np.float64)
    inside = (
        rates.ndim == 1 and rates.size and np.all((rates >= 0) & (rates <= 1 + 1e-6))
    )
    if not inside or (np.diff(rates) < -1e-6).any():
        raise ValueError(f"{name} must be (ranks,) within 0..1 that never fall")
    return rates


@files.styled
def feature_map(
    features: np.ndarray,
    identities: np.ndarray,
    cameras: np.ndarray,
    path: str | os.PathLike[str],
    max_identities: int = 12,
    seed: int = 0,
) -> pathlib.Path:
    """Draw features in the plane by t-SNE: colours are identities, markers cameras.

    Args:
      features: (n, d), scaled to length 1 here, as for the ranking.
      identities: (n,) integers. Of more than `max_identities`, some are drawn by lot.
      cameras: (n,) integers.
      path: the PNG to write.
      max_identities: 1..16.
      seed: of the lot and of t-SNE.

    Of more than 400 points an even selection is drawn. From the ninth identity on,
    markers are hollow; from the twelfth camera on, cameras share one. The perplexity is
    30, or a third of the points.

    Raises:
      ValueError: shapes that disagree, features that are not finite, fewer than 4
        points or 2 dimensions, or max_identities outside 1..16.
    """
    features = np.asarray(features, np.float64)
    identities, cameras = np.asarray(identities), np.asarray(cameras)
    _check_map(features, identities, cameras, max_identities)
    kinds = np.unique(identities)
    kinds_drawn = np.random.default_rng(seed).permutation(kinds)[:max_identities]
    kinds_drawn.sort()
    chosen = np.flatnonzero(np.isin(identities, kinds_drawn))
    if len(chosen) < 4:
        raise ValueError(f"t-SNE needs 4 points or more, got {len(chosen)}")
    chosen = chosen[evenly_chosen(len(chosen), MOST_POINTS)]
    places, perplexity = _places(features[chosen], seed)  # (points, 2)
    figure, grid = files.new_figure(8.6, 5.6)
    axes = grid[0, 0]
    of_identity = np.searchsorted(kinds_drawn, identities[chosen])
    camera_kinds = np.unique(cameras[chosen])
    for index, camera in np.ndindex(len(kinds_drawn), len(camera_kinds)):
        taken = cameras[chosen] == camera_kinds[camera]
        points = places[taken & (of_identity == index)]
        marker = MARKERS[min(camera, len(MARKERS) - 1)]
        axes.plot(*points.T, marker=marker, **_identity_style(index))
    axes.set_title(
        f"Features by t-SNE (perplexity {perplexity:.3g}): {len(chosen)} images,\n"
        f"{len(kinds_drawn)} of {len(kinds)} identities"
    )
    panels.without_ticks([axes])
    axes.spines[:].set_visible(True)  # axes without a scale, but a frame
    _map_legend(figure, kinds_drawn, camera_kinds)
    return files.save(figure, path)


def _check_map(
    features: np.ndarray, identities: np.ndarray, cameras: np.ndarray, most: int
) -> None:
    if features.ndim != 2 or features.shape[1] < 2 or not np.isfinite(features).all():
        raise ValueError(
            f"features must be (n, 2 or more) finite, got shape {features.shape}"
        )
    count = len(features)
    for kind, values in (("identities", identities), ("cameras", cameras)):
        if values.shape != (count,):
            raise ValueError(f"{kind} must be ({count},), got shape {values.shape}")
    if not 1 <= most <= 2 * len(COLOURS):
        raise ValueError(f"max_identities must be within 1..16, got {most}")


def _places(features: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Reduce features (points, d) to (points, 2); also return the perplexity."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    perplexity = min(MOST_PERPLEXITY, (len(features) - 1) / 3)
    # By its principal components scikit-learn crashes where features are all alike.
    init = "pca" if features.std(axis=0).max() > ALIKE else "random"
    reduction = TSNE(perplexity=perplexity, init=init, random_state=seed)
    with threadpool_limits(1):  # so few points: threads would wait for each other
        return reduction.fit_transform(features), perplexity


def _identity_style(index: int) -> files.Style:
    colour = COLOURS[index % len(COLOURS)]
    first = index < len(COLOURS)
    return {
        "linestyle": "",
        "markersize": 6.5,
        "markerfacecolor": colour if first else "white",
        "markeredgecolor": "white" if first else colour,
        "markeredgewidth": 0.4 if first else 1.3,
    }


def _map_legend(figure: Figure, identities: np.ndarray, cameras: np.ndarray) -> None:
    """List identities and, below them, cameras, to the right of the map."""
    handles = [
        Line2D([], [], marker="o", label=f"identity {identity}", **_identity_style(of))
        for of, identity in enumerate(identities)
    ]
    style: files.Style = {"color": files.GREY, "linestyle": ""}
    for marker, camera in zip(MARKERS, cameras, strict=False):
        shared = marker == MARKERS[-1] and len(cameras) > len(MARKERS)
        label = "other cameras" if shared else f"camera {camera}"
        handles.append(Line2D([], [], marker=marker, label=label, **style))
    size = 9.5 if len(handles) <= 22 else 8
    figure.legend(handles=handles, loc="outside right upper", fontsize=size)
