"""Seconds that an image takes to reach the device, stage by stage, on one core.

read      the file's bytes, from a folder or out of a shard
decode    to RGB, at reduced size where that is large enough
resize    to the size that the model takes, and to an array
stack     into the batch
transfer  of the batch to the device
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from tokenjax.data.dataset import Dataset
from tokenjax.data.encoded import read_file
from tokenjax.data.images.image_sizes import decode, fit_rgb
from tokenjax.errors import DatasetError

BATCH = 64  # of what is stacked and transferred


@dataclass(frozen=True)
class Stages:
    """Seconds an image, by stage; `images` were measured."""

    images: int
    read: float
    decode: float
    resize: float
    stack: float
    transfer: float

    @property
    def per_image(self) -> float:
        """Return the seconds of all stages on the host's side."""
        return self.read + self.decode + self.resize + self.stack


def measure(dataset: Dataset, images: int) -> Stages:
    """Measure the stages on `images` training examples, spread over the split.

    Raises: DatasetError for a source without image files.
    """
    split, reading = dataset.train, dataset.info.reading
    shape = dataset.info.image_shape
    places = np.linspace(0, len(split) - 1, min(images, len(split))).astype(int)
    random = np.random.default_rng(0)
    order = random.permutation(places)

    def read(index: int) -> bytes:
        content = read_file(split, index)
        if content is None:
            raise DatasetError(
                f"{dataset.info.name} has no image files: its stages cannot be told "
                "apart"
            )
        return content

    seconds: dict[str, float] = {}

    def each(name: str, function: Callable, items: list) -> list:
        start = time.perf_counter()
        made = [function(item) for item in items]
        seconds[name] = (time.perf_counter() - start) / len(items)
        return made

    files = each("read", lambda index: read(int(index)), list(order))
    pictures = each("decode", lambda file: decode(file, "", shape, reading), files)
    arrays = each("resize", lambda image: fit_rgb(image, shape, reading), pictures)
    batch = np.empty((BATCH, *shape), np.uint8)

    def stack(numbered: tuple[int, np.ndarray]) -> None:
        batch[numbered[0] % BATCH] = numbered[1]

    each("stack", stack, list(enumerate(arrays)))
    jax.block_until_ready(jax.device_put(batch))
    start = time.perf_counter()
    for _ in range(8):
        # Of another array each time: one that is known already need not be sent.
        jax.block_until_ready(jax.device_put(batch.copy()))
    seconds["transfer"] = (time.perf_counter() - start) / (8 * BATCH)
    return Stages(len(order), **seconds)
