"""Mixup and cutmix of the images of a batch in pairs, inside jit, from a key.

    mixup   x <- share x + (1 - share) x[permutation]
    cutmix  x <- x[permutation] inside one box, of sides sqrt(1 - share) of the image's
    loss    share CE(own label) + (1 - share) CE(other label)

The share of the own label is drawn from Beta(alpha, alpha). One share, one permutation
and one box serve the whole batch, and at most one of both kinds of mixing.
Sources: Zhang et al. 2018 (arXiv:1710.09412), Yun et al. 2019 (arXiv:1905.04899).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from tokenjax.data.augmentation.geometry import Images
from tokenjax.data.augmentation.holes import inside_box
from tokenjax.data.augmentation.pipeline import DRAWS, Augmentation


class Mixed(NamedTuple):
    """A batch after `mix`; the loss weighs own labels by share, others by the rest."""

    images: Images
    other_labels: Int[Array, " batch"]
    share: Float[Array, ""]  # float32, 1 where nothing was mixed


def mix(
    key: jax.Array, images: Images, labels: Int[Array, " batch"], settings: Augmentation
) -> Mixed:
    """Mix the batch as `settings` say, as a function of the key; one way is run.

    Mixup with `mixup_probability` if its alpha is above 0; else cutmix with
    `cutmix_probability` if its alpha is; else the batch as it came. The defaults with
    both on: 50 %, 25 %, 25 %. Nothing is traced if both are off.
    """
    if not settings.mixup and not settings.cutmix:
        return Mixed(images, labels, jnp.ones((), jnp.float32))
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    batch, height, width, _ = images.shape
    key = jax.random.fold_in(key, DRAWS.index("mixing"))
    choose, draw_share, draw_order, draw_centre = jax.random.split(key, 4)
    permutation = jax.random.permutation(draw_order, batch)
    limits = jnp.asarray([width, height])
    centre_xy = jax.random.randint(draw_centre, (2,), 0, limits)

    def plain(share: Array) -> Mixed:
        return Mixed(images, labels, jnp.ones_like(share))

    def by_mixup(share: Array) -> Mixed:
        return Mixed(mixup(images, permutation, share), labels[permutation], share)

    def by_cutmix(share: Array) -> Mixed:
        mixed, share = cutmix(images, permutation, centre_xy, share)
        return Mixed(mixed, labels[permutation], share)

    ways: list[Callable[[Array], Mixed]] = [plain]
    alphas = [1.0]  # plain does not look at its share
    choice = jnp.zeros((), jnp.int32)
    first, second = jax.random.uniform(choose, (2,))
    if settings.cutmix:
        choice = jnp.where(second < settings.cutmix_probability, len(ways), choice)
        ways.append(by_cutmix)
        alphas.append(settings.cutmix)
    if settings.mixup:  # the last word: cutmix has its turn where mixup passes
        choice = jnp.where(first < settings.mixup_probability, len(ways), choice)
        ways.append(by_mixup)
        alphas.append(settings.mixup)
    alpha = jnp.asarray(alphas, jnp.float32)[choice]
    share = jax.random.beta(draw_share, alpha, alpha, dtype=jnp.float32)
    return jax.lax.switch(choice, ways, share)


def mixup(
    images: Images, permutation: Int[Array, " batch"], share: Float[Array, ""]
) -> Images:
    """Return share * images + (1 - share) * images[permutation]."""
    mixed = share * images + (1 - share) * images[permutation]
    return mixed.astype(images.dtype)


def cutmix(
    images: Images,
    permutation: Int[Array, " batch"],
    centre_xy: Int[Array, "2"],
    share: Float[Array, ""],
) -> tuple[Images, Float[Array, ""]]:
    """Paste a box of images[permutation] in; also return the share of own pixels.

    With side = int(sqrt(1 - share) * side of the image), the box reaches side // 2 to
    either side of `centre_xy` (column, row) and is cut off at the border: the share of
    own pixels is counted anew.
    """
    _, height, width, _ = images.shape
    size = jnp.asarray([height, width])
    half = jnp.floor(jnp.sqrt(1 - share) * size).astype(jnp.int32) // 2
    centre = centre_xy[::-1]
    first = jnp.maximum(centre - half, 0)
    stop = jnp.minimum(centre + half, size)
    area = (stop - first).prod()
    box = inside_box(first, stop, height, width)  # (height, width, 1)
    mixed = jnp.where(box, images[permutation], images)
    return mixed, (1 - area / (height * width)).astype(jnp.float32)
