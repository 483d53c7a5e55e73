"""What a card says of pictures, as those who prepare them take it."""

from typing import get_args

import jax

from tokenjax.card import Card
from tokenjax.data import Reading
from tokenjax.data.images.image_sizes import MAX_SIDE
from tokenjax.data.preprocessing import Interpolation
from tokenjax.errors import CheckpointError
from tokenjax.models import contract


def image_shape(model: contract.Model, card: Card) -> tuple[int, int, int]:
    """Return height, width and channels; the network's own where the card is silent.

    Raises: CheckpointError where neither tells.
    """
    images = card.images
    told = (images.height, images.width, images.channels)
    example = jax.tree.leaves(model.example_inputs(1))[0]
    own = example.shape[1:] if example.ndim == 4 else (None, None, None)
    height, width, channels = (
        ours if theirs is None else theirs
        for theirs, ours in zip(told, own, strict=True)
    )
    if height is None or width is None or channels is None:
        raise CheckpointError(
            "the card does not tell the size of images, and the network takes any"
        )
    for side in (height, width, channels):
        if not isinstance(side, int) or not 1 <= side <= MAX_SIDE:
            raise CheckpointError(f"the card tells a size of images of {side!r}")
    return height, width, channels


def reading(card: Card) -> Reading:
    """Return how pictures come to this size; as no crop, bicubic, where it is silent.

    Raises: CheckpointError for an interpolation that is not known here.
    """
    images, plain = card.images, Reading()
    crop = plain.crop if images.crop is None else images.crop
    if not isinstance(crop, int | float) or not 0 < crop <= 1:
        raise CheckpointError(f"the card tells a crop of {crop!r}, not within 0..1")
    if images.interpolation not in (None, *get_args(Interpolation)):
        raise CheckpointError(
            f"the card names an interpolation {images.interpolation!r} that is none "
            f"of {', '.join(get_args(Interpolation))}"
        )
    return Reading(
        crop,
        images.interpolation or plain.interpolation,  # type: ignore[arg-type]
        bool(images.stretch),
    )
