"""What accuracies were measured on: those of different images are not comparable.

Two evaluations are of the same data where the cards of their runs have the same digest
of the split. Of runs without a card what both say has to agree: the name of the split,
its number of images, the classes with the images of each, and the data section of their
configurations, apart from how images are read and prepared.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tokenjax import card as cards
from tokenjax import storage

# Arguments of data sources by which the images of a split stay the same ones.
PREPARATION = frozenset(
    {
        *("cache_bytes", "num_threads", "max_pixels", "outside_links", "download"),
        *("image_size", "height", "width", "mean", "std", "crop", "interpolation"),
    }
)
DIGEST, NAME = "digest", "name"


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What is known of the images of one evaluation.

    Attributes:
      facts: by name; what is not known is not there.
    """

    facts: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Say which images these are."""
        name, split = self.facts.get(NAME, "unknown data"), self.facts.get("split")
        label = f"{name}, {split}" if split else str(name)
        examples = self.facts.get("examples")
        return label if examples is None else f"{label}: {examples} images"

    def same_as(self, other: "Evaluated") -> bool:
        """Return whether nothing says that these are other images."""
        mine, theirs = self.facts, other.facts
        if DIGEST in mine and DIGEST in theirs:
            return bool(mine[DIGEST] == theirs[DIGEST])
        common = (mine.keys() & theirs.keys()) - {NAME}  # of a card or of a source
        return all(mine[key] == theirs[key] for key in common)


def read_evaluated(path: pathlib.Path, evaluation: Mapping[str, Any]) -> Evaluated:
    """Return what an evaluation, read from `path`, and the run around it tell.

    Raises: CheckpointError for a card or a configuration that cannot be read.
    """
    facts = {key: evaluation[key] for key in ("split", "examples") if key in evaluation}
    rows = evaluation.get("per_class")
    if isinstance(rows, list):
        facts["classes"] = [(row.get("name"), row.get("support")) for row in rows]
    other = evaluation.get("of")  # named where it is not the run's own
    facts["other"] = other
    if other is not None:
        return Evaluated({**facts, NAME: other})
    return Evaluated(facts | _of_the_run(path.parent, evaluation.get("split")))


def _of_the_run(directory: pathlib.Path, split: object) -> dict[str, Any]:
    """Return what the files of a run tell of its own data."""
    own = cards.read(directory)
    card: Mapping[str, Any] = (own.data if own is not None else None) or {}
    config = _section(directory / "config.json", "data")
    facts: dict[str, Any] = {}
    if config:
        kept = {k: v for k, v in config.items() if k not in PREPARATION}
        if isinstance(kept.get("directory"), str):
            kept["directory"] = pathlib.Path(kept["directory"]).expanduser().resolve()
        facts["settings"] = {k: v for k, v in kept.items() if v is not None}
    name = card.get("name") or config.get("source")
    if name:
        facts[NAME] = name
    of_split = (card.get("splits") or {}).get(split) or {}
    if of_split.get("digest"):
        facts[DIGEST] = of_split["digest"]
    return facts


def _section(path: pathlib.Path, name: str) -> dict[str, Any]:
    """Return a section of a JSON file; {} where one or the other is not there."""
    value = storage.read_json(path) if path.exists() else {}
    section = value.get(name) if isinstance(value, dict) else None
    return section if isinstance(section, dict) else {}


def group(evaluated: Mapping[str, Evaluated]) -> list[list[str]]:
    """Return the names of evaluations of the same data together, in their order."""
    groups: list[list[str]] = []
    for name, each in evaluated.items():
        for members in groups:
            if all(each.same_as(evaluated[member]) for member in members):
                members.append(name)
                break
        else:
            groups.append([name])
    return groups


def labels(
    groups: Sequence[Sequence[str]], evaluated: Mapping[str, Evaluated]
) -> list[str]:
    """Say which data each group is of; equal words are told apart by numbers."""
    plain = [evaluated[members[0]].label for members in groups]
    return [
        f"{label} ({number})" if plain.count(label) > 1 else label
        for number, label in enumerate(plain, start=1)
    ]
