"""Tiny re-identification sets on disk, in the layout of each real one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tokenjax import data

MODALITIES = ("rgb", "nir", "tir")
TRAINING = ((258, 1), (258, 2), (7, 4), (7, 1), (99, 3))  # identity, camera
TESTED = ((300, 1), (300, 2), (12, 4))


def save(path: Path, colour, size=(6, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=95)
    return path


def colour(identity: int, camera: int, modality: int) -> tuple[int, int, int]:
    return identity % 250, camera * 20, modality * 100


@pytest.fixture
def rgbnt201(tmp_path):
    root = tmp_path / "RGBNT201"
    for part, people in (("train_171", TRAINING), ("test", TESTED)):
        for identity, camera in people:
            for number, folder in enumerate(("RGB", "NI", "TI")):
                name = f"{identity:06}_cam{camera}_0_01.png"
                path = root / part / folder / name
                save(path, colour(identity, camera, number))
    return root


@pytest.fixture
def rgbnt100(tmp_path):
    parts = {
        "bounding_box_train": ((5, 1), (600, 8), (5, 2)),
        "query": ((9, 1),),
        "bounding_box_test": ((9, 2), (9, 1), (40, 8)),
    }
    root = tmp_path / "RGBNT100" / "rgbir"
    for part, vehicles in parts.items():
        for identity, camera in vehicles:
            path = root / part / f"{identity:04}_c{camera}_00.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            strip = np.zeros((128, 768, 3), np.uint8)
            for number in range(3):
                left = 256 * number
                strip[:, left : left + 256] = colour(identity, camera, number)
            Image.fromarray(strip).save(path, quality=95)
    return root


@pytest.fixture
def msvr310(tmp_path):
    parts = {
        "bounding_box_train": ((31, 2, 0), (31, 4, 7), (2, 1, 3)),
        "query3": ((8, 1, 5),),
        "bounding_box_test": ((8, 1, 6), (8, 140, 0)),
    }
    root = tmp_path / "MSVR310"
    for part, vehicles in parts.items():
        for identity, scene, view in vehicles:
            for number, folder in enumerate(("vis", "ni", "th")):
                name = f"{identity:04}_s{scene:03}_v{view}_00.png"
                path = root / part / f"{identity:04}" / folder / name
                save(path, colour(identity, view, number))
    return root


def load(source, directory, **arguments):
    size = {"height": 4, "width": 3}
    config = {"source": source, "directory": str(directory)}
    return data.load(config | size | arguments)


def everything(split) -> dict:
    return split.gather(np.arange(len(split)))


def who(batch) -> list[tuple[int, int]]:
    """(red, green) of each sample's first image: identity and camera of `colour`."""
    pixels = batch["rgb"][:, 2, 1].astype(int)
    return [(int(red), int(green)) for red, green, _ in pixels]
