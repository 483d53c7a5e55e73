import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tokenjax import data
from tokenjax.data.sources.fashion_mnist import read_idx
from tokenjax.errors import DatasetError

RANDOM = np.random.default_rng(0)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def folder(tmp_path):
    for part, count in (("train", 60), ("t10k", 20)):
        images = RANDOM.integers(0, 256, (count, 28, 28))
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


def load(folder, **arguments):
    config = {"source": "fashion_mnist", "directory": str(folder)}
    return data.load(config | arguments)


def test_files_become_splits(folder):
    dataset = load(folder, validation_fraction=1 / 3)
    lengths = [len(dataset.split(name)) for name in ("train", "validation", "test")]
    assert lengths == [40, 20, 20]
    assert dataset.info.counts["train"].tolist() == [4] * 10
    assert dataset.info.image_shape == (28, 28, 1)
    assert dataset.info.class_names[0] == "T-shirt/top"
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz")
    batch = dataset.test.gather(np.arange(20))
    assert np.array_equal(batch["image"][..., 0], images)
    assert np.array_equal(batch["label"], np.arange(20) % 10)


def test_images_are_resized(folder):
    assert load(folder, image_size=32).info.image_shape == (32, 32, 1)


def test_missing_files_name_both_ways(folder, tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match="apt-get install dataset-fashion-mnist"):
        load(tmp_path / "elsewhere")
    monkeypatch.setattr(
        "tokenjax.data.sources.fashion_mnist.DEBIAN_DIRECTORY", tmp_path / "none"
    )
    with pytest.raises(DatasetError, match=r"apt-get.*tfds build fashion_mnist"):
        load("", data_dir=str(tmp_path / "tfds"))


@pytest.mark.parametrize("damage", ["not gzip", "cut", "short", "type", "tiny"])
def test_damaged_files_are_named(folder, damage):
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    content = gzip.decompress(whole)
    path.write_bytes(
        {
            "not gzip": content,
            "cut": whole[: len(whole) // 2],
            "short": gzip.compress(content[:-1]),
            "type": gzip.compress(b"\0\0\x0d" + content[3:]),
            "tiny": gzip.compress(content[:6]),
        }[damage]
    )
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte\.gz is not a"):
        load(folder)


def test_files_that_do_not_belong_together_are_refused(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    write_idx(path, np.zeros(59))
    with pytest.raises(DatasetError, match="do not belong together"):
        load(folder)
    write_idx(path, np.full(60, 10))
    with pytest.raises(DatasetError, match="label 10"):
        load(folder)
