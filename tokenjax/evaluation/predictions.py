"""What a classifier said of every picture, and the files that tell it.

    .csv    a line per picture: its name, the best classes, every class's probability
    .json   the same, whole
    .npz    arrays: "names", "classes", "logits", "probabilities", "prediction"

With "label" and "loss" where the truth is known.
"""

import csv
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tokenjax import storage
from tokenjax.errors import UserError
from tokenjax.evaluation.classification import finite

FORMATS = (".csv", ".json", ".npz")
TEXT: dict[str, str] = {"encoding": "utf-8", "errors": "surrogateescape"}


class Score(NamedTuple):
    """A class, and how probable it is."""

    name: str
    probability: float


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of n pictures for each of k classes.

    Attributes:
      names: of the pictures (n,).
      classes: names (k,) in the order of the scores.
      logits: float32 (n, k).
      labels: (n,), where the truth is known.
      losses: (n,), likewise.
    """

    names: Sequence[str]
    classes: tuple[str, ...]
    logits: np.ndarray
    labels: np.ndarray | None = None
    losses: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.logits)

    def __iter__(self) -> Iterator[list[Score]]:
        """Yield every picture's classes, the most probable first."""
        return iter(self.top(len(self.classes)))

    @property
    def probabilities(self) -> np.ndarray:
        """Return the softmax of the logits, float32 (n, k)."""
        logits = self.logits.astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)

    @property
    def order(self) -> np.ndarray:
        """Return classes by falling score (n, k); of equal ones the first comes first.

        As the evaluation ranks them.
        """
        return np.argsort(-self.logits, axis=1, kind="stable")

    @property
    def best(self) -> list[str]:
        """Return the name of every picture's most probable class."""
        return [self.classes[row[0]] for row in self.order]

    def top(self, count: int) -> list[list[Score]]:
        """Return the `count` most probable classes of every picture, falling."""
        pairs = zip(self.order[:, :count], self.probabilities, strict=True)
        return [
            [Score(self.classes[index], float(row[index])) for index in best]
            for best, row in pairs
        ]


def check_format(
    path: str | os.PathLike[str],
    flag: str,
    formats: Sequence[str] = FORMATS,
    why: str = "",
) -> None:
    """Refuse a file that could not be written.

    Args:
      path: of the file.
      flag: by which it was given.
      formats: those that will do.
      why: they and no others, as a clause.

    Raises: UserError.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in formats:
        raise UserError(f"--{flag} {path} must end in {' or '.join(formats)}{why}")
    if path.is_dir():
        raise UserError(f"--{flag} {path} is a directory, not a file")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--{flag} {path}: its directory does not exist")


def write(
    path: str | os.PathLike[str],
    found: Predictions,
    topk: int = 1,
    about: Mapping[str, object] | None = None,
) -> None:
    """Write predictions, whole or not at all; the name's end says how.

    Args:
      path: one that `check_format` takes.
      found: what to write.
      topk: the classes that a line of a CSV names in order.
      about: what else JSON is to say, by name.
    """
    path = pathlib.Path(path)
    kind = path.suffix.lower()
    if kind == ".npz":
        write_arrays(path, _arrays(found))
    elif kind == ".json":
        with storage.replacing(path) as temporary:
            temporary.write_text(_document(found, about or {}))
    else:
        with (
            storage.replacing(path) as temporary,
            open(temporary, "w", newline="", **TEXT) as file,  # type: ignore[call-overload]
        ):
            csv.writer(file).writerows(_lines(found, topk))


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name into an .npz file, whole or not at all."""
    with storage.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _arrays(found: Predictions) -> dict[str, np.ndarray]:
    arrays = {
        "names": np.array(found.names, np.str_),
        "classes": np.array(found.classes, np.str_),
        "logits": found.logits,
        "probabilities": found.probabilities,
        "prediction": found.order[:, 0].astype(np.int32),
    }
    if found.labels is not None:
        arrays["label"] = found.labels
    if found.losses is not None:
        arrays["loss"] = found.losses
    return arrays


def _document(found: Predictions, about: Mapping[str, object]) -> str:
    """Return JSON with a line for each picture."""
    images = []
    every, order = found.probabilities, found.order
    for row, name in enumerate(found.names):
        shares, best = [finite(share) for share in every[row]], order[row, 0]
        image = {"file": name, **_truth(found, row)}
        image |= {"class": found.classes[best], "probability": shares[best]}
        images.append(json.dumps({**image, "probabilities": shares}))
    head = json.dumps({**about, "classes": list(found.classes)}, indent=1)
    opened = head.removesuffix("\n}")
    lines = ",\n".join(images)
    return f'{opened},\n "images": [\n{lines}\n ]\n}}\n'


def _lines(found: Predictions, topk: int) -> Iterator[list[object]]:
    """Yield the heading and a line for each picture."""
    numbers = range(1, min(topk, len(found.classes)) + 1)
    ranked = [f"{key}_{n}" for n in numbers for key in ("class", "probability")]
    known = list(_truth(found, 0)) if len(found) else []
    every = [f"p({name})" for name in found.classes]
    yield ["file", *known, "class", "probability", *ranked[2:], *every]
    probabilities = found.probabilities
    for row, best in enumerate(found.top(len(numbers))):
        scores = [_short(part) for score in best for part in score]
        shares = [_short(float(share)) for share in probabilities[row]]
        truth = [_short(value) for value in _truth(found, row).values()]
        yield [found.names[row], *truth, *scores, *shares]


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _truth(found: Predictions, row: int) -> dict[str, Any]:
    truth: dict[str, Any] = {}
    if found.labels is not None:
        truth["label"] = found.classes[found.labels[row]]
    if found.losses is not None:
        truth["loss"] = finite(found.losses[row])
    return truth
