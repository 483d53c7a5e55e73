"""A small archive in the format of the official one of CIFAR-10."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np

MEMBERS = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's str, which the official batches hold."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def pickled(batch) -> bytes:
    """Return the bytes of a batch as Python 2 would pickle it."""
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(batch)
    # Where numpy's arrays were before its version 2.
    return file.getvalue().replace(b"numpy._core.", b"numpy.core.")


def make_batches(per_batch: int = 20, seed: int = 0) -> dict[str, dict]:
    """Return batches of random images, every class equally often in each."""
    random = np.random.default_rng(seed)
    return {
        name: {
            "data": random.integers(0, 256, (per_batch, 3072), np.uint8),
            "labels": random.permutation(np.arange(per_batch) % 10).tolist(),
            "batch_label": name,
            "filenames": [f"{name}_{number}.png" for number in range(per_batch)],
        }
        for name in MEMBERS
    }


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """Write files as cifar-10-batches-py/NAME into a gzipped tar."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_batches(path: Path, batches: dict[str, dict]) -> Path:
    """Write batches as the official archive has them, and its list of names."""
    files = {name: pickled(batch) for name, batch in batches.items()}
    return write_archive(path, {"readme.html": b"<html>", **files})
