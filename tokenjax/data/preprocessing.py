"""How a picture becomes what a model takes: its size, and what is kept of it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tokenjax.arguments import Range
from tokenjax.errors import UserError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
# None in these: as the weights that a run starts from have it, else as it says here.
Crop = Annotated[
    float | None,
    Range(above=0, maximum=1),
    "share of the shorter side that is kept, in the middle (crop_pct); None: 1",
]
Resize = Annotated[Interpolation | None, "how pictures are resized; None: bicubic"]
Mean = Annotated[
    tuple[float, ...] | None,
    Range(minimum=0, maximum=1),
    "of every channel, of images in 0..1; None: measured",
]
Std = Annotated[tuple[float, ...] | None, Range(above=0), "likewise"]


@dataclass(frozen=True)
class Reading:
    """What becomes of a picture's shape.

    Attributes:
      crop: share of the shorter side that is kept.
      interpolation: by which it is resized.
      stretch: both sides are resized, whatever becomes of the proportions; else the
        shorter one is and the middle of the longer one is kept.
    """

    crop: float = 1.0
    interpolation: Interpolation = "bicubic"
    stretch: bool = False


def given_statistics(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and std for every channel; None if they are to be measured.

    One number stands for all channels; of three, a grey image takes the mean, as it is
    of the colours.

    Raises: UserError for one without the other, or another count than `channels`.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise UserError("data.mean and data.std go together: give both or none")
    return _for_channels("mean", mean, channels), _for_channels("std", std, channels)


def _for_channels(
    name: str, values: tuple[float, ...], channels: int
) -> tuple[float, ...]:
    if channels == 1 and len(values) == 3:
        return (sum(values) / 3,)
    if len(values) not in (1, channels):
        raise UserError(
            f"data.{name} has {len(values)} numbers, the images have {channels} "
            "channels: give one for each, or one for all"
        )
    return tuple(values) * (channels // len(values))
