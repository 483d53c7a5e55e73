"""Classes of labels as they are written in shards: numbers, or names.

If every label is written as a number, that is its class (a `classes.txt` beside the
shards names them, a line each); else the names that occur are the classes, in the order
of `classes.txt` or of the alphabet.
"""

from pathlib import Path

import numpy as np

from tokenjax.data.images.image_files import abridged
from tokenjax.errors import DatasetError, shown

CLASSES_FILE = "classes.txt"
MOST_CLASSES = 10**6


def order_classes(
    vocabulary: dict[str, int], names_file: Path
) -> tuple[list[str], np.ndarray]:
    """Return the names of all classes, and the class of each label, (labels,) int32.

    Raises: DatasetError for a label that is none of the classes in `names_file`.
    """
    named: list[str] = []
    if names_file.exists():
        try:
            named = names_file.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{shown(names_file)} cannot be read: {error}"
            ) from error
        named = [line.strip() for line in named if line.strip()]
        if len(set(named)) < len(named):
            raise DatasetError(f"{shown(names_file)} names a class twice")
    labels = list(vocabulary)
    if all(label.isascii() and label.isdigit() for label in labels):
        numbers = [int(label) for label in labels]
        count = max(len(named), 1 + max(numbers))
        if count > MOST_CLASSES or (named and count > len(named)):
            most = len(named) or MOST_CLASSES
            raise DatasetError(
                f"the shards have the label {max(numbers)}, and there are {most} "
                f"classes at most{f' in {shown(names_file)}' if named else ''}, from 0"
            )
        return named or [str(n) for n in range(count)], np.array(numbers, np.int32)
    named = named or sorted(labels)
    unknown = [repr(label) for label in labels if label not in set(named)]
    if unknown:
        raise DatasetError(
            f"{shown(names_file)} lacks classes that the shards have: "
            f"{abridged(unknown, ', ')}"
        )
    places = {name: place for place, name in enumerate(named)}
    return named, np.array([places[label] for label in labels], np.int32)
