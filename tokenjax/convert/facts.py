"""What is known of converted weights besides their numbers."""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from tokenjax import card
from tokenjax.card import Card, Images
from tokenjax.errors import ConversionError
from tokenjax.models import contract
from tokenjax.models.position_embedding import Grid


class Preprocessing(NamedTuple):
    """What is done to a picture before the network, and the names of its answers.

    Attributes:
      classes: names, in order.
      mean, std: by channel, of values from 0 to 1.
      crop: share of the shorter side that is kept.
      interpolation: by which pictures are resized.
    """

    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: float | None = None
    interpolation: str | None = None

    def or_else(self, other: "Preprocessing") -> "Preprocessing":
        """Return it with another's values for those that are None."""
        known = {key: v for key, v in self._asdict().items() if v is not None}
        return other._replace(**known)


NOTHING = Preprocessing()


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a converted checkpoint says of itself; None is not known.

    Attributes:
      model: its name.
      arguments: those that are not the name's own.
      assumed: arguments that no shape tells and nobody gave: the name's.
      preprocessing: of pictures, and the classes.
      image: (height, width, channels) that the model takes.
      grid: (rows, columns) of patches, where weights depend on it.
      source_grid: what the file's was taken for.
      file: name of the file of weights, the first of several.
      sha256: see `hash_files`.
    """

    model: str
    arguments: dict[str, Any]
    assumed: dict[str, Any]
    preprocessing: Preprocessing
    image: tuple[int, ...]
    grid: Grid | None
    source_grid: Grid | None
    file: str
    sha256: str

    def as_metadata(self) -> dict[str, Any]:
        """Return it as JSON has it, the model and its arguments as one object."""
        return {
            "model": {"name": self.model, **self.arguments},
            "assumed": self.assumed,
            **self.preprocessing._asdict(),
            "image": self.image,
            "grid": self.grid,
            "source_grid": self.source_grid,
            "file": self.file,
            "sha256": self.sha256,
        }

    def as_card(self, arguments: Mapping[str, Any]) -> Card:
        """Return the checkpoint's card; `arguments` are all that the model has."""
        read, (height, width, channels) = self.preprocessing, self.image
        return Card(
            model={"name": self.model, **arguments},
            classes=read.classes,
            images=Images(
                height=height,
                width=width,
                channels=channels,
                mean=read.mean,
                std=read.std,
                crop=read.crop,
                interpolation=read.interpolation,
            ),
            origin={
                "file": self.file,
                "sha256": self.sha256,
                "assumed": self.assumed,
                "grid": self.grid,
            },
            versions=card.versions(),
        )


def image_of(model: nn.Module) -> tuple[int, ...]:
    """Return (height, width, channels) of the images that a model takes."""
    assert isinstance(model, contract.Model)
    images = jax.tree.leaves(model.example_inputs(1)[0])
    return tuple(images[0].shape[1:])


def hash_files(paths: Sequence[pathlib.Path]) -> str:
    """Return the sha256 of a file, or of those of several, joined."""
    digests = []
    for path in paths:
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def read_numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """Read "0.5,0.5,0.5" or "(0.5, 0.5, 0.5)".

    Raises: ConversionError for what is no list of finite numbers.
    """
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.strip("()[] ").split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise ConversionError(f"--{flag} must be numbers with commas, got {text!r}")
    return numbers


def read_classes(text: str | None) -> tuple[str, ...] | None:
    """Read "cat,dog", or a text file with a name on every line.

    Raises: ConversionError for names that are empty or there twice.
    """
    if text is None:
        return None
    path = pathlib.Path(text)
    try:
        lines = (
            path.read_text(encoding="utf-8").splitlines() if path.is_file() else None
        )
    except (OSError, ValueError) as error:
        raise ConversionError(f"--classes {text} cannot be read: {error}") from error
    names = tuple(name.strip() for name in (lines or text.split(",")))
    if not all(names) or len(set(names)) < len(names):
        raise ConversionError(
            "--classes must be names that differ, with commas between, or a text file "
            f"with one on every line, got {text!r}"
        )
    return names


def read_grid(text: str | None) -> Grid | None:
    """Read "16x4".

    Raises: ConversionError for what is no such pair.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ConversionError(f"--source_grid must be ROWSxCOLUMNS, got {text!r}")
    return int(parts[0]), int(parts[1])


def check(facts: Facts, num_classes: int | None) -> None:
    """Raise ConversionError unless classes, mean, std and crop fit the model.

    Args:
      facts: to be checked.
      num_classes: that the model tells apart, None for a backbone.
    """
    channels, read = facts.image[-1], facts.preprocessing
    problems = [
        f"{name} has {len(values)} numbers and an image {channels} channels"
        for name, values in (("mean", read.mean), ("std", read.std))
        if values is not None and len(values) != channels
    ]
    if read.std is not None and min(read.std) <= 0:
        problems.append(f"std must be above 0, got {_listed(read.std)}")
    if read.crop is not None and not 0 < read.crop <= 1:
        problems.append(f"crop must be within (0, 1], got {read.crop:g}")
    if read.classes is not None and len(read.classes) != num_classes:
        problems.append(
            f"{len(read.classes)} classes are named and the model tells "
            f"{num_classes or 'none'} apart"
        )
    if problems:
        raise ConversionError("; ".join(problems))


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
