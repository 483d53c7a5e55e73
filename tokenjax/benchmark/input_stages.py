"""Seconds of a core that an image takes to reach the device, stage by stage.

read      the file's bytes, from a folder or out of a shard
decode    to RGB, at reduced size where that is large enough
resize    to the size that the model takes, and to an array
stack     into the batch
transfer  of the batch to the device
"""

import time
from dataclasses import dataclass

import jax
import numpy as np

from tokenjax.data.dataset import Dataset
from tokenjax.data.encoded import read_file
from tokenjax.data.images.image_sizes import decode, fit_rgb
from tokenjax.errors import DatasetError

BATCH = 64  # of what is stacked and transferred
WARM = 16  # images before the first that counts
STAGES = ("read", "decode", "resize", "stack")


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

    batch = np.empty((BATCH, *shape), np.uint8)
    seconds = np.zeros(len(STAGES))
    for row, index in enumerate([*order[:WARM], *order]):
        if row == WARM:
            seconds[:] = 0
        times = [time.thread_time()]
        content = read(int(index))
        times.append(time.thread_time())
        picture = decode(content, "", shape, reading)
        times.append(time.thread_time())
        array = fit_rgb(picture, shape, reading)
        times.append(time.thread_time())
        batch[row % BATCH] = array
        times.append(time.thread_time())
        seconds += np.diff(times)
    found = dict(zip(STAGES, (seconds / len(order)).tolist(), strict=True))
    jax.block_until_ready(jax.device_put(batch))
    start = time.perf_counter()
    for _ in range(8):
        # Of another array each time: one that is known already need not be sent.
        jax.block_until_ready(jax.device_put(batch.copy()))
    transfer = (time.perf_counter() - start) / (8 * BATCH)
    return Stages(len(order), **found, transfer=transfer)
