"""Pictures of any size and kind, as files or arrays -> what a network takes.

They become what the data set's own became when the network was trained: the card tells
the size, the channels, the crop and the interpolation. An array that has the shape
already stays as it is.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from tokenjax.data import Reading
from tokenjax.data.images.image_opening import MAX_PIXELS
from tokenjax.data.images.image_sizes import fit_picture, read_picture
from tokenjax.data.threads import thread_count
from tokenjax.errors import DatasetError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = Union[str, os.PathLike[str], np.ndarray, "Image"]
Pictures: TypeAlias = Picture | Sequence[Picture]
LAST_AXES = (1, 3, 4)  # channels of a picture: grey, RGB, RGB with transparency
READ_AHEAD = 128  # pictures


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a picture becomes an array uint8 of `shape` (height, width, channels)."""

    shape: tuple[int, int, int]
    reading: Reading
    max_pixels: int = MAX_PIXELS

    def read(self, picture: Picture) -> np.ndarray:
        """Return one picture, uint8 of `shape`.

        Raises: DatasetError for a file that holds no whole image, UserError for what is
          no picture.
        """
        if isinstance(picture, str | os.PathLike):
            self._check_channels()
            path = pathlib.Path(picture).expanduser()
            return read_picture(path, self.shape, self.reading, self.max_pixels)
        if not isinstance(picture, np.ndarray):
            from PIL.Image import Image

            if not isinstance(picture, Image):
                raise UserError(
                    "a picture is a path, an array or an image of Pillow, got "
                    f"{type(picture).__name__}"
                )
            self._check_channels()
            return fit_picture(picture, self.shape, self.reading)
        return self._fit_array(picture)

    def _fit_array(self, array: np.ndarray) -> np.ndarray:
        from PIL import Image as pillow

        if array.dtype == np.uint16:
            array = (array >> 8).astype(np.uint8)
        if array.ndim == 2:
            array = array[..., None]
        if array.dtype != np.uint8 or array.ndim != 3 or 0 in array.shape:
            raise UserError(
                "an array is a picture of uint8 (height, width) or (height, width, "
                f"1, 3 or 4), or a batch of them, got {array.dtype} {array.shape}; "
                "`.apply` takes normalised images"
            )
        if array.shape == self.shape:
            return array
        self._check_channels()
        if array.shape[-1] not in LAST_AXES:
            raise UserError(
                f"an array of a picture has 1, 3 or 4 channels, got {array.shape[-1]}"
            )
        grey = array.shape[-1] == 1
        picture = pillow.fromarray(
            np.ascontiguousarray(array[..., 0] if grey else array)
        )
        return fit_picture(picture, self.shape, self.reading)

    def _check_channels(self) -> None:
        if self.shape[-1] not in (1, 3):
            raise UserError(
                f"the network takes images of {self.shape[-1]} channels, which no "
                f"picture has: give arrays uint8 {self.shape}"
            )


def list_pictures(pictures: Pictures) -> Sequence[Picture]:
    """Return pictures one by one, of whatever `Pictures` holds."""
    if isinstance(pictures, np.ndarray):
        single = pictures.ndim < 3 or (
            pictures.ndim == 3 and pictures.shape[-1] in LAST_AXES
        )
        return [pictures] if single else pictures  # type: ignore[return-value]
    if isinstance(pictures, Sequence) and not isinstance(pictures, str):
        return pictures
    if hasattr(pictures, "__array__") and not hasattr(pictures, "getexif"):
        return list_pictures(np.asarray(pictures))  # of jax, say
    return [pictures]  # type: ignore[list-item]


def name_pictures(pictures: Sequence[Picture]) -> list[str]:
    """Return the path of each that has one, else its number from 0."""
    return [
        os.fspath(picture) if isinstance(picture, str | os.PathLike) else str(number)
        for number, picture in enumerate(pictures)
    ]


def read_ahead(
    pictures: Iterable[Picture], preparation: Preparation
) -> Iterator[np.ndarray | DatasetError]:
    """Yield pictures in order, read by threads; in place of a broken one, its error."""

    def attempt(picture: Picture) -> np.ndarray | DatasetError:
        try:
            return preparation.read(picture)
        except DatasetError as error:
            return error

    pool = ThreadPoolExecutor(thread_count(0), "tokenjax-read")
    waiting: collections.deque[Future[np.ndarray | DatasetError]] = collections.deque()
    try:
        for picture in pictures:
            waiting.append(pool.submit(attempt, picture))
            if len(waiting) >= READ_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_batches(
    pictures: Sequence[Picture], preparation: Preparation, batch_size: int
) -> Iterator[np.ndarray]:
    """Yield pictures as uint8 (up to batch_size, height, width, channels).

    Raises: DatasetError for a broken one, UserError for what is none.
    """
    ready = isinstance(pictures, np.ndarray) and pictures.dtype == np.uint8
    if ready and pictures.shape[1:] == preparation.shape:  # type: ignore[attr-defined]
        for start in range(0, len(pictures), batch_size):
            yield pictures[start : start + batch_size]  # type: ignore[misc]
        return
    yield from in_batches(whole(read_ahead(pictures, preparation)), batch_size)


def whole(found: Iterable[np.ndarray | DatasetError]) -> Iterator[np.ndarray]:
    """Yield pictures until one is broken; raise its error then."""
    for picture in found:
        if isinstance(picture, DatasetError):
            raise picture
        yield picture


def in_batches(pictures: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Yield (up to batch_size, ...) pictures at a time."""
    batch: list[np.ndarray] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
