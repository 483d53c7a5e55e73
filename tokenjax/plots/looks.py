"""Figures of what a model looked at: one table, by what it reports in `aux`.

A figure of one's own is one entry, and nothing else changes:

    def draw(images, looks, directory):
        return [my_drawing(images, looks["my_map"], directory / "my_map.png")]

    plots.register_figure("my_map", draw, {"my_map": plots.Look()})

An evaluation then keeps `aux["my_map"]` of the images that it inspects, and draws it
for every model that reports it. With `rows` it is also in the small pictures that every
evaluation during training draws of a few images:

    def rows(images, looks):
        return [plots.Row("my map", my_pictures(images, looks["my_map"]))]

matplotlib is imported by what draws figures, not here.
"""

import pathlib
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.errors import UserError
from tokenjax.plots import look_rows
from tokenjax.plots.images import grid_side
from tokenjax.plots.look_rows import Looks
from tokenjax.plots.small_pictures import Row
from tokenjax.registry import Registry

SHOWN_IMAGES = 4
SAME_SCORES = 1e-6  # a range of float32 scores that rounding alone makes

# (images (n, h, w, 1 or 3) uint8 or 0..1, looks, where the PNGs go) -> what was drawn
Draw = Callable[[np.ndarray, Looks, pathlib.Path], list[pathlib.Path]]
DrawRows = Callable[[np.ndarray, Looks], list[Row]]  # (images, looks), likewise


class Look(NamedTuple):
    """How an entry of `aux` is kept.

    Attributes:
      axis: along which the images lie; a number is repeated for each of them.
      read: takes it from `aux`, None where there is none; if not given it is
        `aux[key]`.
      averaged: its mean over the images goes into evaluation.json, under "model".
      on_patches: turns it into how much each patch was looked at, (n, g * g), for a
        contact sheet; None where it tells no such thing.
    """

    axis: int = 0
    read: Callable[[Mapping], jax.Array | int | None] | None = None
    averaged: bool = False
    on_patches: Callable[[np.ndarray], np.ndarray] | None = None


class Figure(NamedTuple):
    """What draws, the looks that it needs, and those that it can do without."""

    draw: Draw
    needs: Mapping[str, Look]
    takes: Mapping[str, Look]
    rows: DrawRows | None


_FIGURES: Registry[Figure] = Registry("figure")


def register_figure(
    name: str,
    draw: Draw,
    needs: Mapping[str, Look],
    takes: Mapping[str, Look] = MappingProxyType({}),
    rows: DrawRows | None = None,
) -> None:
    """Add a figure.

    Args:
      name: of the figure, for messages.
      draw: see `Draw`; called where a model reports all that the figure needs.
      needs: by key of `aux` how it is kept, one key at least.
      takes: the same of what it can do without.
      rows: draws the same of a few images in small, at every evaluation in training.

    Raises: UserError if another figure has the name, nothing is needed, or another
      figure keeps one of the keys differently.
    """
    if not needs:
        raise UserError(f"figure {name!r} needs a key of aux, or it is never drawn")
    known = _all_looks()
    for key, look in {**needs, **takes}.items():
        if _FIGURES.get(name) is None and known.get(key, look) != look:
            raise UserError(
                f"figure {name!r}: {key!r} is kept as {known[key]} already, not {look}"
            )
    _FIGURES.add(name, Figure(draw, dict(needs), dict(takes), rows))


def collect(aux: Mapping, count: int) -> dict[str, jax.Array]:
    """Return what figures take of the `aux` of `count` images; to be jitted."""
    found = {}
    for key, look in _all_looks().items():
        value = aux.get(key) if look.read is None else look.read(aux)
        if value is not None:
            value = jnp.asarray(value)
            found[key] = value if value.ndim else jnp.broadcast_to(value, count)
    return found


def image_axis(key: str) -> int:
    """Return the axis of a look along which its images lie."""
    return _all_looks().get(key, Look()).axis


def average_blocks(looks: Looks) -> dict[str, list[float]]:
    """Return the means over images of those looks that have one, block by block."""
    return {
        key: looks[key].mean(look.axis).tolist()
        for key, look in _all_looks().items()
        if look.averaged and key in looks
    }


def patch_maps(looks: Looks) -> np.ndarray | None:
    """Return how much each patch was looked at (n, g * g), by the first look that says.

    None where none does, or patches are on no square grid.
    """

    for key, look in _all_looks().items():
        if look.on_patches is not None and key in looks:
            maps = look.on_patches(looks[key])
            if grid_side(maps.shape[-1]):
                return maps
    return None


def draw_looks(
    images: np.ndarray, looks: Looks, directory: pathlib.Path
) -> list[pathlib.Path]:
    """Draw every figure that there are looks for.

    Args:
      images: (n, h, w, 1 or 3), uint8 or float in 0..1.
      looks: as `collect` names them, and what else a figure may take. Patches that are
        on no square grid are passed over.
      directory: where the PNGs go.
    """
    drawn = []
    for figure in _FIGURES.values():
        if figure.needs.keys() <= looks.keys():
            drawn += figure.draw(images, looks, directory)
    return drawn


def has_rows(keys: Collection[str]) -> bool:
    """Return whether looks of these keys can be drawn as rows of small pictures."""
    return any(
        figure.rows is not None and figure.needs.keys() <= set(keys)
        for figure in _FIGURES.values()
    )


def draw_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    """Draw the images and, in rows below, everything that there are looks for.

    Args: see `draw_looks`. What is on no square grid is left out.
    """
    drawn = look_rows.image_rows(images, looks)
    for figure in _FIGURES.values():
        if figure.rows is not None and figure.needs.keys() <= looks.keys():
            drawn += figure.rows(images, looks)
    if "input_gradient" in looks:  # of a model that reports nothing to be drawn
        drawn += look_rows.gradient_rows(images, looks)
    return drawn


def _all_looks() -> dict[str, Look]:
    found: dict[str, Look] = {}
    for figure in _FIGURES.values():
        found |= {**figure.needs, **figure.takes}
    return found


def _alpha(images: np.ndarray, looks: Looks, directory: pathlib.Path) -> list:
    from tokenjax.plots.vdpa import alpha_per_block

    return [alpha_per_block(looks["alpha"], directory / "alpha_per_block.png")]


def _effective_keys(images: np.ndarray, looks: Looks, directory: pathlib.Path) -> list:
    from tokenjax.plots.vdpa import effective_keys

    num_keys = int(looks["num_keys"][0])
    path = directory / "effective_keys.png"
    # Where a gate mixes two paths, the attention is that of the local one.
    name = "local attention" if "alpha" in looks else "attention"
    return [effective_keys(looks["effective_keys"], num_keys, path, name)]


def _num_keys(aux: Mapping) -> int | None:
    attention = aux.get("attention")  # by block (b, heads, queries, keys)
    return attention[0].shape[-1] if attention is not None else None


def _received(aux: Mapping) -> jax.Array | None:
    """Return the share of all attention that each patch gets, (depth, n, patches).

    Mean over heads and queries, of a model whose tokens are the patches and no more.
    """
    attention = aux.get("attention")
    if attention is None or aux.get("class_attention") is not None:
        return None
    received = jnp.stack([maps.mean((1, 2)) for maps in attention])
    return received / received.sum(-1, keepdims=True)


def _pooling(images: np.ndarray, looks: Looks, directory: pathlib.Path) -> list:
    from tokenjax.plots.vdpa import pooling_weights

    shares, weights = looks["alp_shares"], looks["alp_weights"][:SHOWN_IMAGES]
    grid = round(shares.shape[1] ** 0.5)
    maps = shares.reshape(-1, grid, grid)[:SHOWN_IMAGES]
    path = directory / "pooling_weights.png"
    return [pooling_weights(images[:SHOWN_IMAGES], weights, maps, path)]


def _kept(images: np.ndarray, looks: Looks, directory: pathlib.Path) -> list:
    from tokenjax.plots.tokens import kept_patches

    masks = looks["keep_masks"][:, :SHOWN_IMAGES]  # (stages, n, patches)
    if not grid_side(masks.shape[-1]):
        return []
    return [kept_patches(images[:SHOWN_IMAGES], masks, directory / "kept_patches.png")]


def _token_regions(images: np.ndarray, looks: Looks, directory: pathlib.Path) -> list:
    from tokenjax.plots.regions import token_regions

    if "keep_masks" in looks:  # they show the same
        return []
    held, blocks = looks["token_regions"], looks["reducing_blocks"]
    path = directory / "token_regions.png"
    shown = held[:, :SHOWN_IMAGES]  # (blocks, n, patches)
    return [token_regions(images[:SHOWN_IMAGES], shown, blocks[:, 0].tolist(), path)]


def _region_rows(images: np.ndarray, looks: Looks) -> list[Row]:
    return [] if "keep_masks" in looks else look_rows.region_rows(images, looks)


def _reduced(aux: Mapping) -> list[tuple[int, Mapping[str, jax.Array]]]:
    """Return the blocks in which tokens became fewer, each with what is said of it."""
    entries = aux.get("reduction") or ()
    return [(block, entry) for block, entry in enumerate(entries) if entry is not None]


def _regions(aux: Mapping) -> jax.Array | None:
    """Return the token that holds each patch after those blocks, (blocks, n, p)."""
    done = _reduced(aux)
    return jnp.stack([entry["patches"] for _, entry in done]) if done else None


def _reducing_blocks(aux: Mapping) -> jax.Array | None:
    """Return the numbers of those blocks, the same for every image (blocks, n)."""
    done = _reduced(aux)
    if not done:
        return None
    count = len(done[0][1]["patches"])
    return jnp.broadcast_to(
        jnp.array([block for block, _ in done])[:, None], (len(done), count)
    )


def _class_attention(images: np.ndarray, looks: Looks, directory: pathlib.Path) -> list:
    from tokenjax.plots.tokens import class_attention

    maps = looks["class_attention"][:, :SHOWN_IMAGES]  # (depth, n, patches)
    if not grid_side(maps.shape[-1]):
        return []
    path = directory / "class_attention.png"
    return [class_attention(images[:SHOWN_IMAGES], maps, path)]


def _received_attention(
    images: np.ndarray, looks: Looks, directory: pathlib.Path
) -> list:
    from tokenjax.plots.tokens import class_attention

    maps = looks["received_attention"][:, :SHOWN_IMAGES]  # (depth, n, patches)
    if not grid_side(maps.shape[-1]):
        return []
    path = directory / "received_attention.png"
    return [class_attention(images[:SHOWN_IMAGES], maps, path, "all tokens")]


def _routing(images: np.ndarray, looks: Looks, directory: pathlib.Path) -> list:
    """Draw what a router chose and, unless every score is the same, by what."""
    from tokenjax.plots.routing import attention_scores, patch_scores, routed_patches

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


def _last(blocks: np.ndarray) -> np.ndarray:
    return blocks[-1]


_BLOCKS = Look(axis=1, averaged=True)  # (depth, n)
_STACKED = Look(axis=1)  # (depth or stages, n, patches)
_LAST = Look(axis=1, on_patches=_last)
_ON_PATCHES = Look(on_patches=np.asarray)  # (n, patches)

register_figure("alpha per block", _alpha, {"alpha": _BLOCKS})
register_figure(
    "effective keys",
    _effective_keys,
    {"effective_keys": _BLOCKS, "num_keys": Look(read=_num_keys)},
    takes={"alpha": _BLOCKS},
)
register_figure(
    "pooling weights",
    _pooling,
    {"alp_shares": _ON_PATCHES, "alp_weights": Look()},  # (n, g * g), (n, g * g, 9)
    rows=look_rows.pooling_rows,
)
register_figure(
    "kept patches", _kept, {"keep_masks": _STACKED}, rows=look_rows.kept_rows
)
register_figure(
    "token regions",
    _token_regions,
    {
        "token_regions": Look(axis=1, read=_regions),  # (blocks, n, patches)
        "reducing_blocks": Look(axis=1, read=_reducing_blocks),  # (blocks, n)
    },
    takes={"keep_masks": _STACKED},
    rows=_region_rows,
)
register_figure(
    "class attention",
    _class_attention,
    {"class_attention": _LAST},
    rows=look_rows.class_attention_rows,
)
register_figure(
    "received attention",
    _received_attention,
    {"received_attention": Look(axis=1, read=_received)},  # (depth, n, patches)
    rows=look_rows.received_attention_rows,
)
register_figure(
    "routing",
    _routing,
    {"attention_scores": Look(), "mask": _ON_PATCHES},  # (n, patches)
    takes={"threshold": Look()},  # and "box" (n, 4), of the batch
    rows=look_rows.routing_rows,
)
