"""What the names of folders say: part of a set, or a folder around the classes.

    train, Training, dev, test             a part
    training_set, train_images, val2017    a part, with words that say nothing
    seg_train, bullet_train                perhaps a part, perhaps a class
    images, raw_data, JPEGImages           a folder around the classes

A name alone proves nothing: a class of vehicles is called train. What lies in the
folders decides, in `tokenjax.data.sources.folder_layout`.
"""

import re
from dataclasses import dataclass

_WORDS = {
    "train": ("train", "training", "trn"),
    "validation": (
        *("val", "valid", "validation", "validate"),
        *("dev", "devel", "development", "eval", "evaluation"),
    ),
    "test": ("test", "testing", "tst", "holdout"),
    "unlabelled": (
        *("unlabelled", "unlabeled", "unknown", "inference"),
        *("pred", "predict", "prediction", "predictions"),
    ),
}
_PARTS = {word: part for part, words in _WORDS.items() for word in words}
_AROUND = {  # words of folders that are around classes
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"),
    *("pic", "pics", "jpg", "jpeg", "jpegs", "png", "data", "dataset", "datasets"),
    *("set", "all", "raw", "file", "files", "archive", "download", "downloads"),
    *("input", "inputs", "class", "classes", "folder", "folders", "split", "splits"),
}
# Letters of any script; "JPEGImages" and "TrainSet" are two words each.
_LETTERS = re.compile(r"[^\W\d_]+")
_CAPITALS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_GLUED = re.compile(rf"({'|'.join(sorted(_PARTS, key=len, reverse=True))})(set|data)")


@dataclass(frozen=True)
class PartName:
    """The part that a name speaks of.

    `certainty`: 2 for the word itself, 1 with words that say nothing, 0 with others.
    """

    part: str  # "train", "validation", "test" or "unlabelled"
    certainty: int


def recognise(name: str) -> PartName | None:
    """Return the part that a folder's name speaks of; None for none, or for two."""
    words = _words(name)
    parts = {_PARTS[word] for word in words if word in _PARTS}
    if len(parts) != 1:
        return None
    others = [word for word in words if word not in _PARTS]
    certainty = 0 if set(others) - _AROUND else 1
    if name.strip().casefold() in _PARTS:
        certainty = 2
    return PartName(parts.pop(), certainty)


def is_around(name: str) -> bool:
    """Return whether a folder of this name is usually around the classes.

    A number is no such name: class_1 stands beside class_2.
    """
    words = _words(name)
    counted = any(letter.isdigit() for letter in name)
    return bool(words) and not counted and not set(words) - _AROUND


def _words(name: str) -> list[str]:
    """Split "TrainSet2017" into "train" and "set"."""
    runs = _LETTERS.findall(name)
    words = [word.casefold() for run in runs for word in _CAPITALS.split(run)]
    found: list[str] = []
    for word in words:
        glued = _GLUED.fullmatch(word)
        found += glued.groups() if glued else [word]
    return found
