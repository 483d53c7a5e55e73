"""Images as figures want them."""

import numpy as np


def displayable(images: np.ndarray) -> np.ndarray:
    """Return images (n, h, w, 1 or 3) as (n, h, w, 3), float32 in 0..1.

    Floats outside 0..1 are clipped.

    Raises:
      ValueError: another shape, or another dtype.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"images must be (n, height, width, 1 or 3), got shape {images.shape}"
        )
    if images.dtype == np.uint8:
        images = images / np.float32(255)
    elif not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images must be uint8 or floats in 0..1, got {images.dtype}")
    images = np.clip(images, 0, 1, dtype=np.float32)
    return np.broadcast_to(images, (*images.shape[:3], 3))


def greyscale(images: np.ndarray) -> np.ndarray:
    """Turn (n, h, w, 3) in 0..1 into grey (n, h, w), by the weights of Rec. 601."""
    return images @ np.array([0.299, 0.587, 0.114], np.float32)
