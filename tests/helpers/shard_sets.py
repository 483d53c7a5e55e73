"""Small tar shards in WebDataset's layout, for the tests."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = 40  # of example i the red is its label's, the green i


def png(label: int, number: int, size: tuple[int, int] = (12, 10)) -> bytes:
    """Return a picture of one colour that tells label and number."""
    file = io.BytesIO()
    Image.new("RGB", size, (label * COLOURS, number, 7)).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Write a tar file of these members, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_set(
    directory: Path, counts: dict[str, list[int]], classes: int = 3
) -> list[int]:
    """Write PART-0000.tar, ... with so many examples each; return all labels.

    Numbers go through all parts; the label of number i is i modulo `classes`.
    """
    number = 0
    for part, sizes in counts.items():
        for shard, size in enumerate(sizes):
            members = {}
            for _ in range(size):
                label = number % classes
                members[f"{number:04d}.png"] = png(label, number)
                members[f"{number:04d}.cls"] = str(label).encode()
                number += 1
            write_tar(directory / f"{part}-{shard:04d}.tar", members)
    return [i % classes for i in range(number)]


def numbers(batch: dict[str, np.ndarray]) -> list[int]:
    """Return which examples a batch holds, by their colours; labels must agree."""
    pixels = batch["image"][:, 2, 2].astype(int)
    assert np.array_equal(pixels[:, 0] // COLOURS, batch["label"])
    return pixels[:, 1].tolist()
