"""The image file behind an example of a split, whatever the split is wrapped in."""

import io
from typing import Protocol, runtime_checkable

import numpy as np

from tokenjax.data.classes import Relabelled
from tokenjax.data.dataset import LazySplit, Split, Subset
from tokenjax.data.holding_out import Rest


@runtime_checkable
class Encoded(Protocol):
    """What has image files by the numbers of examples."""

    def encoded(self, index: int) -> bytes:
        """Return the bytes of an example's image file."""


def read_file(split: Split, index: int) -> bytes | None:
    """Return the bytes of an example's image file, None if there is none."""
    while isinstance(split, Subset | Rest | Relabelled):
        if isinstance(split, Subset):
            index = int(split.indices[index])
        elif isinstance(split, Rest):
            index = int(split.in_source(np.array([index]))[0])
        split = split.source
    if isinstance(split, Encoded):
        return split.encoded(index)
    if isinstance(split, LazySplit) and isinstance(split.read, Encoded):
        return split.read.encoded(index)
    return None


def encode_png(image: np.ndarray) -> bytes:
    """Return an image, uint8 (height, width, 1 or 3), as a PNG file."""
    from PIL import Image as pillow

    file = io.BytesIO()
    picture = image[..., 0] if image.shape[-1] == 1 else image
    pillow.fromarray(picture).save(file, "PNG")
    return file.getvalue()
