"""Images as figures want them, with numpy alone."""

import numpy as np

DROPPED = np.array([0.80, 0.86, 0.93], np.float32)  # a tint that kept patches lack
FADED = 0.85  # how much of it a dropped patch is


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


def faded(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the image (h, w, 3), those patches faded that are not kept.

    `kept` (rows, columns): true or false for each patch of the grid.
    """
    pixels = on_pixels(kept, image.shape[:2])[..., None]  # (h, w, 1)
    return np.where(pixels, image, (1 - FADED) * image + FADED * DROPPED)


def on_pixels(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (h, w, ...), for each pixel what the grid has of its patch.

    `grid`: (rows, columns, ...); `size`: h, w.
    """
    rows, columns = (
        np.arange(pixels) * patches // pixels
        for pixels, patches in zip(size, grid.shape[:2], strict=True)
    )
    return grid[rows][:, columns]


def grid_side(patches: int) -> int:
    """Return how many of these patches a square grid has a side, 0 for no square."""
    side = round(patches**0.5)
    return side if side * side == patches else 0


def find_grid(patches: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of so many patches, nearest to an image's (h, w)."""
    divisors = [rows for rows in range(1, patches + 1) if patches % rows == 0]
    wanted = np.log(size[0] / size[1])
    rows = min(divisors, key=lambda each: abs(np.log(each**2 / patches) - wanted))
    return rows, patches // rows


def fill_regions(image: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the image (h, w, 3), patches that are one token in their mean colour.

    `tokens` (rows, columns): the token that holds each patch, -1 where it was dropped;
    those are faded. A token of one patch is left as it is.
    """
    names, index, patches = np.unique(tokens, return_inverse=True, return_counts=True)
    of_pixels = on_pixels(index.reshape(tokens.shape), image.shape[:2])  # (h, w)
    flat = of_pixels.ravel()
    pixels = np.maximum(np.bincount(flat, minlength=len(names)), 1)
    sums = [np.bincount(flat, image[..., c].ravel(), len(names)) for c in range(3)]
    means = (np.stack(sums, -1) / pixels[:, None]).astype(np.float32)  # (tokens, 3)
    merged = (patches > 1) & (names >= 0)
    filled = np.where(merged[of_pixels][..., None], means[of_pixels], image)
    return faded(filled, tokens >= 0)


def region_edges(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where neighbouring patches (rows, columns) are not one token.

    True below the patch (rows - 1, columns), and true on its right (rows, columns - 1);
    never between two that were dropped.
    """
    return tokens[1:] != tokens[:-1], tokens[:, 1:] != tokens[:, :-1]


def evenly_chosen(count: int, most: int) -> list[int]:
    """Return `most` indices below `count` or fewer, the first and last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})
