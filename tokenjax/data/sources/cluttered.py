"""Find the digit: one whole digit among pieces of other digits, on a noisy canvas.

    image = clip(max(digit at a random spot, fragments elsewhere) + noise, 0, 255)

Most of such an image carries nothing, and what carries something misleads: a task on
which spending compute where the image needs it shows. Real digits (see `digits`),
the train, validation and test part each built from its own; the label is the whole
digit, "box" the rectangle of its ink. Fragments never touch the square that the digit
was placed in, and their number, places and digits are drawn alike for every label.

Example i of a part is a function of (seed, part, i): row i of one table of uniform
draws. Images are drawn when they are asked for, a batch at a time.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np

from tokenjax.arguments import COUNT, SIZE, at_least
from tokenjax.data.dataset import Dataset, make_dataset
from tokenjax.data.identity import digest_arrays
from tokenjax.data.partition import generator
from tokenjax.data.sources.digits import CLASS_NAMES, digit_arrays, digit_parts
from tokenjax.data.sources.source_arguments import (
    Examples,
    Noise,
)
from tokenjax.errors import DatasetError

DIGIT_DRAWS = 5  # which digit, its row and column, the noise's row and column
FRAGMENT_DRAWS = 4  # which digit, the row and column cut from it, its place
NOISE_MARGIN = 512  # pixels by which the noise field exceeds the canvas, each way


@dataclass(frozen=True, eq=False)
class ClutteredSplit:
    """Split that draws its images from `draws` (n, draws per example) in 0..1."""

    digits: np.ndarray  # (digits, digit_size, digit_size) uint8
    digit_labels: np.ndarray  # (digits,) int32
    draws: np.ndarray
    noise_field: np.ndarray  # (canvas + margin, canvas + margin) int16
    canvas: int
    fragments: int
    fragment_size: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.canvas, self.canvas, 1

    @cached_property
    def labels(self) -> np.ndarray:
        return self.digit_labels[self._digit(self.draws)]  # (n,)

    def __len__(self) -> int:
        return len(self.draws)

    def example_names(self) -> None:
        return None

    def digest(self) -> str:
        sizes = np.array([self.canvas, self.fragments, self.fragment_size])
        return digest_arrays(
            self.digits, self.digit_labels, self.draws, self.noise_field, sizes
        )

    def _digit(self, draws: np.ndarray) -> np.ndarray:
        return _whole(draws[:, 0], len(self.digits))  # (batch,)

    @cached_property
    def _ink(self) -> np.ndarray:
        """Rectangles (digits, 4) of ink: top, left, bottom, right, ends excluded."""
        size = self.digits.shape[-1]
        ink = self.digits > 0
        sides = np.stack([ink.any(axis=2), ink.any(axis=1)])  # (2, digits, size)
        first = list(sides.argmax(axis=2))
        last = list(size - sides[:, :, ::-1].argmax(axis=2))
        return np.stack(first + last, axis=1)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        draws = self.draws[indices]  # (batch, draws per example)
        chosen = self._digit(draws)
        size = self.digits.shape[-1]
        corner = _whole(draws[:, 1:3], self.canvas - size + 1)  # (batch, 2)
        images = np.zeros((len(draws), self.canvas, self.canvas), np.uint8)
        self._add_fragments(images, draws[:, DIGIT_DRAWS:], chosen, corner)
        _paste(images, self.digits[chosen], corner)
        image = self._add_noise(images, draws[:, 3:5])
        box = self._ink[chosen] + np.tile(corner, 2)
        return {
            "image": image[..., None],
            "label": self.digit_labels[chosen],
            "box": box.astype(np.float32),
        }

    def _add_fragments(
        self,
        images: np.ndarray,
        draws: np.ndarray,
        chosen: np.ndarray,
        corner: np.ndarray,
    ) -> None:
        size, piece = self.digits.shape[-1], self.fragment_size
        windows = np.lib.stride_tricks.sliding_window_view(
            self.digits, (piece, piece), axis=(1, 2)
        )  # (digits, rows, columns, piece, piece)
        for start in range(0, self.fragments * FRAGMENT_DRAWS, FRAGMENT_DRAWS):
            which, row, column, place = draws[:, start : start + FRAGMENT_DRAWS].T
            other = _whole(which, len(self.digits) - 1)
            other += other >= chosen  # any digit but the whole one
            cut = [_whole(draw, size - piece + 1) for draw in (row, column)]
            fragment = windows[other, cut[0], cut[1]]  # (batch, piece, piece)
            _paste(images, fragment, self._free_place(place, corner))

    def _free_place(self, draw: np.ndarray, corner: np.ndarray) -> np.ndarray:
        """Return corners (batch, 2), uniform among those that miss the digit.

        The forbidden corners are a rectangle within the square of all of them: the
        free ones are counted row by row, above, beside and below it.
        """
        size, piece = self.digits.shape[-1], self.fragment_size
        side = self.canvas - piece + 1
        first = np.maximum(corner - piece + 1, 0)  # (batch, 2)
        last = np.minimum(corner + size, side)  # bounds excluded
        (height, width), (top, left) = (last - first).T, first.T
        rank = np.floor(draw * (side * side - height * width)).astype(np.int64)
        beside = rank - top * side  # rank among the free corners from row `top` on
        row_beside, column_beside = np.divmod(beside, side - width)
        column_beside += np.where(column_beside >= left, width, 0)
        below = rank + height * width  # rank in the square, past the rectangle
        above, past = beside < 0, beside >= height * (side - width)
        row = np.select([above, past], [rank // side, below // side], row_beside + top)
        column = np.select([above, past], [rank % side, below % side], column_beside)
        return np.stack([row, column], axis=1)

    def _add_noise(self, images: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Add a random window of one field of noise: drawing it anew costs 5 ms."""
        windows = np.lib.stride_tricks.sliding_window_view(
            self.noise_field, (self.canvas, self.canvas)
        )
        row, column = _whole(draws, NOISE_MARGIN + 1).T
        noisy = windows[row, column]  # a copy, (batch, canvas, canvas) int16
        noisy += images
        return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def _whole(draws: np.ndarray, count: int) -> np.ndarray:
    """Turn uniform draws in [0, 1) into integers from 0 to count - 1."""
    return (draws * count).astype(np.int64)


def _paste(images: np.ndarray, patches: np.ndarray, corner: np.ndarray) -> None:
    """Paste patches (batch, s, s) on images (batch, h, w); the brighter wins."""
    steps = np.arange(patches.shape[-1])
    row = corner[:, 0, None, None] + steps[:, None]  # (batch, s, 1)
    column = corner[:, 1, None, None] + steps  # (batch, 1, s)
    batch = np.arange(len(images))[:, None, None]
    images[batch, row, column] = np.maximum(images[batch, row, column], patches)


def cluttered(
    canvas: Annotated[int, SIZE, "pixels a side of the image"] = 64,
    digit_size: Annotated[int, SIZE, "pixels a side of the whole digit"] = 20,
    fragments: Annotated[int, COUNT, "parts of other digits in an image"] = 8,
    fragment_size: Annotated[int, SIZE, "pixels a side of a part"] = 10,
    noise: Noise = 0.1,
    train_examples: Examples = 20000,
    validation_examples: Examples = 1000,
    test_examples: Examples = 2000,
    seed: Annotated[int, at_least(0), "of every image"] = 0,
) -> Dataset:
    """Make images (canvas, canvas, 1) of one digit among fragments, with its box.

    "box" is (top, left, bottom, right). Sizes in pixels; `noise` is its standard
    deviation on the 0..1 scale. Raises `DatasetError` for sizes that do not fit into
    one another.
    """
    _check(canvas, digit_size, fragments, fragment_size, noise)
    counts = (train_examples, validation_examples, test_examples)
    if min(counts) < 0:
        raise DatasetError(f"cluttered: numbers of examples from 0, got {counts}")
    images, labels = digit_arrays(digit_size)
    splits = []
    for number, (part, count) in enumerate(zip(digit_parts(), counts, strict=True)):
        table = generator(seed, number).random(
            (count, DIGIT_DRAWS + FRAGMENT_DRAWS * fragments)
        )
        side = canvas + NOISE_MARGIN
        field = generator(seed, number, 1).standard_normal((side, side), np.float32)
        splits.append(
            ClutteredSplit(
                digits=images[part],
                digit_labels=labels[part],
                draws=table,
                noise_field=np.rint(field * (noise * 255)).astype(np.int16),
                canvas=canvas,
                fragments=fragments,
                fragment_size=fragment_size,
            )
        )
    train, validation, test = splits
    return make_dataset(
        "cluttered", CLASS_NAMES, train, validation, test, statistics_examples=500
    )


def _check(
    canvas: int, digit_size: int, fragments: int, fragment_size: int, noise: float
) -> None:
    if not 64 <= canvas <= 512:
        raise DatasetError(f"cluttered: canvas is 64 to 512 pixels, got {canvas}")
    if not 1 <= fragment_size <= digit_size:
        raise DatasetError(
            "cluttered: fragment_size is 1 to digit_size pixels, got fragment_size "
            f"{fragment_size}, digit_size {digit_size}"
        )
    if digit_size + 2 * fragment_size > canvas:
        raise DatasetError(
            "cluttered: digit_size + 2 * fragment_size must fit into the canvas, got "
            f"{digit_size} + 2 * {fragment_size} > {canvas}"
        )
    if fragments < 0 or not 0 <= noise <= 1:
        raise DatasetError(
            "cluttered: fragments must be 0 or more and noise from 0 to 1, got "
            f"{fragments} and {noise}"
        )
