"""The card of weights: everything they depend on that no array's shape tells.

    card.json              in a run's workdir, written when it starts
    checkpoints/<step>     each has the card as it was then
    card.json              in a converted checkpoint, as far as its file tells

Whoever reads weights holds the card against what it was given: what is equal goes on,
what differs is named. None stands for "not told".

A card carries the digest of itself, so that one that was edited is refused. It names
models and modules, and nothing is imported because a card names it.
"""

import dataclasses
import hashlib
import json
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

from tokenjax import __version__, storage
from tokenjax.errors import CheckpointError

FILE = "card.json"
FORMAT = 1
LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
DIGEST = "digest"  # of all the rest
FORMAT_KEY = "format"


@dataclasses.dataclass(frozen=True)
class Images:
    """What the network takes, and how pictures become that.

    Attributes:
      height, width, channels: of an image.
      mean, std: per channel, of images in 0..1.
      crop, interpolation, stretch: see `tokenjax.data.preprocessing.Reading`.
      modalities: images of one sample by name; () for a single image.
    """

    height: int | None = None
    width: int | None = None
    channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: float | None = None
    interpolation: str | None = None
    stretch: bool | None = None
    modalities: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Card:
    """What weights are of.

    Attributes:
      task: what was learned, see `tokenjax.training.settings.choices.TASKS`.
      model: "name", and every argument of its constructor.
      images: what it takes.
      classes: their names in the order of the network's scores.
      data: "source", "name" and "splits": by name "examples" and "digest".
      config: the whole configuration of a run.
      origin: of a converted checkpoint, "file" and "sha256", and what else it told.
      imports: what --import named in the run.
      versions: of the libraries that made it.
    """

    model: Mapping[str, Any]
    images: Images = Images()
    task: str | None = None
    classes: tuple[str, ...] | None = None
    data: Mapping[str, Any] | None = None
    config: Mapping[str, Any] | None = None
    origin: Mapping[str, Any] | None = None
    imports: tuple[str, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it, with its digest."""
        plain = json.loads(json.dumps({FORMAT_KEY: FORMAT, **dataclasses.asdict(self)}))
        return {**plain, DIGEST: _digest(plain)}

    @property
    def splits(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is known of each split, by name; {} where nothing is."""
        return (self.data or {}).get("splits", {})


def from_json(value: object, where: object) -> Card:
    """Return the card that `to_json` wrote.

    `where` is named in messages.

    Raises: CheckpointError if it is damaged, edited or of a newer tokenjax.
    """
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds no card: not a JSON object")
    plain = dict(value)
    storage.check_format(plain.get(FORMAT_KEY, 0), where, FORMAT)
    if plain.pop(DIGEST, None) != _digest(plain):
        raise CheckpointError(
            f"{where} was edited or damaged since it was written: what it says no "
            "longer holds for the weights beside it; restore it"
        )
    del plain[FORMAT_KEY]
    try:
        images = Images(**_with_tuples(plain.pop("images")))
        return Card(images=images, **_with_tuples(plain))
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{where} is no card of ours: {error}") from error


def write(directory: pathlib.Path, card: Card) -> None:
    """Write card.json, whole or not at all."""
    storage.write_json(directory / FILE, card.to_json())


def read(directory: pathlib.Path) -> Card | None:
    """Return the card of a directory; None if it holds none, as before there were any.

    Raises: CheckpointError if it is damaged, edited or of a newer tokenjax.
    """
    path = directory / FILE
    if not path.exists():
        return None
    return from_json(storage.read_json(path), path)


def versions() -> dict[str, str]:
    """Return those of tokenjax, Python and the libraries that weights depend on."""
    from importlib import metadata

    found = {"tokenjax": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in LIBRARIES}


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
    }
