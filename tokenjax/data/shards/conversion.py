"""From a data set to shards: its parts, its classes, and its images' files.

The order of examples is shuffled once, so that each shard is a fair sample.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tokenjax.data.dataset import Dataset, Split
from tokenjax.data.encoded import encode_png, read_file
from tokenjax.data.images.image_opening import MAX_PIXELS, open_stream
from tokenjax.data.images.image_sizes import to_rgb, upright
from tokenjax.data.order import shuffled
from tokenjax.data.shards.writing import Example, write_classes, write_part
from tokenjax.errors import DatasetError, shown

if TYPE_CHECKING:
    from PIL.Image import Image

PARTS = ("train", "validation", "test")
SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "GIF": ".gif",
}
QUALITY = 92  # of what is made smaller


def write_shards(
    dataset: Dataset, directory: Path, kind: str, shard_bytes: int, shorter_side: int
) -> list[Path]:
    """Write a data set's parts as shards into a new directory; return the shards.

    Args:
      dataset: its images' files are taken as they are; arrays become PNG files.
      directory: made; it must be empty.
      kind: "tar" or "array_record".
      shard_bytes: after which the next one is begun.
      shorter_side: to which larger images are resized first, as JPEG; 0: as they are.

    Raises: DatasetError for a directory that is in use, and for a broken image.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise DatasetError(f"{shown(directory)} is not empty")
    except OSError as error:
        raise DatasetError(
            f"{shown(directory)} cannot be made: {error.strerror}"
        ) from error
    write_classes(directory, dataset.info.class_names)
    paths = []
    for part in PARTS:
        split = dataset.split(part)
        examples = _examples(split, dataset.info.class_names, part, shorter_side)
        paths += write_part(directory, part, kind, examples, shard_bytes)
    return paths


def _examples(
    split: Split, class_names: tuple[str, ...], part: str, shorter_side: int
) -> Iterator[Example]:
    order = shuffled((0,), len(split), np.arange(len(split)))
    bar = tqdm(order, f"writing {part}", unit="image", delay=1, leave=False)
    for index in bar:
        label = class_names[int(split.labels[index])]
        content = read_file(split, int(index))
        if content is None:
            image = split.gather(np.array([index]))["image"][0]
            yield Example(".png", encode_png(image), label)
            continue
        where = f"the image {index} of {part}"
        with open_stream(io.BytesIO(content), where, MAX_PIXELS, whole=True) as picture:
            suffix = SUFFIXES[str(picture.format)]
            if 0 < shorter_side < min(picture.size):
                content, suffix = _make_smaller(picture, shorter_side), ".jpg"
        yield Example(suffix, content, label)


def _make_smaller(picture: "Image", shorter_side: int) -> bytes:
    from PIL import Image as pillow

    whole = to_rgb(upright(picture))
    scale = shorter_side / min(whole.size)
    width, height = (max(round(side * scale), shorter_side) for side in whole.size)
    file = io.BytesIO()
    smaller = whole.resize((width, height), pillow.Resampling.BICUBIC)
    smaller.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
