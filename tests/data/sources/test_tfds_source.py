"""TFDS without a network: sets built here from digits, and those that cannot be had."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from tokenjax import data
from tokenjax.data.sources.digits import digit_arrays
from tokenjax.errors import DatasetError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
tensorflow_datasets = pytest.importorskip("tensorflow_datasets")

TRAIN, TEST = 60, 20


class LocalDigits(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Digits 0 to 79; those of the test split wider than high."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = tensorflow_datasets.features
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {
                    "image": features.Image(shape=(None, None, 1)),
                    "label": features.ClassLabel(num_classes=10),
                    "number": np.int64,
                }
            ),
        )

    def _split_generators(self, dl_manager):
        ranges = {"train": range(TRAIN), "test": range(TRAIN, TRAIN + TEST)}
        return {name: self._generate_examples(span) for name, span in ranges.items()}

    def _generate_examples(self, span):
        images, labels = digit_arrays(8)
        for number in span:
            wide = ((0, 0), (3, 3)) if number >= TRAIN else ((0, 0), (0, 0))
            image = np.pad(images[number], wide)[..., None]
            yield number, {"image": image, "label": labels[number], "number": number}


@pytest.fixture(scope="module", params=["array_record", "tfrecord"])
def prepared(request, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp(request.param))
    LocalDigits(data_dir=folder, file_format=request.param).download_and_prepare()
    return request.param, folder


def load(folder, **arguments):
    config = {"source": "tfds", "name": "local_digits", "data_dir": folder}
    return data.load(config | {"image_size": 8, "validation_fraction": 0.2} | arguments)


def rows(split) -> set[tuple[int, bytes]]:
    batch = split.gather(np.arange(len(split)))
    pairs = zip(batch["label"], batch["image"], strict=True)
    return {(int(label), image.tobytes()) for label, image in pairs}


def expected_rows(span) -> set[tuple[int, bytes]]:
    images, labels = digit_arrays(8)
    return {(int(labels[number]), images[number].tobytes()) for number in span}


def test_a_local_set_is_read_whole(prepared):
    _, folder = prepared
    dataset = load(folder)
    assert isinstance(dataset.train, data.ArraySplit)
    assert dataset.info.name == "local_digits"
    assert dataset.info.class_names == tuple("0123456789")
    assert dataset.info.image_shape == (8, 8, 1)
    assert len(dataset.train) + len(dataset.validation) == TRAIN
    assert 8 <= len(dataset.validation) <= 16
    seen = rows(dataset.train) | rows(dataset.validation)
    assert seen == expected_rows(range(TRAIN))
    assert rows(dataset.test) == expected_rows(range(TRAIN, TRAIN + TEST))


def test_order_is_the_same_every_time(prepared):
    _, folder = prepared
    first, again = (load(folder).train.gather(np.arange(9)) for _ in range(2))
    assert np.array_equal(first["image"], again["image"])


def test_a_set_too_large_for_memory(prepared):
    file_format, folder = prepared
    if file_format == "tfrecord":
        with pytest.raises(DatasetError, match="--file_format=array_record"):
            load(folder, cache_bytes=100)
        return
    lazy, whole = load(folder, cache_bytes=100), load(folder)
    assert isinstance(lazy.train, data.LazySplit)
    assert lazy.info.mean == whole.info.mean
    indices = np.array([7, 0, 7])
    for name in ("train", "validation", "test"):
        now, later = (d.split(name).gather(indices) for d in (whole, lazy))
        assert np.array_equal(now["image"], later["image"])
        assert np.array_equal(now["label"], later["label"])


def test_splits_and_features_are_checked(prepared):
    _, folder = prepared
    sliced = load(folder, train_split="train[:50%]", test_split="train[50%:]")
    assert len(sliced.test) == TRAIN // 2
    for arguments, message in (
        ({"test_split": "tests"}, "did you mean 'test'"),
        ({"test_split": "test[:x]"}, "is no part of"),
        ({"image_key": "images"}, "did you mean 'image'"),
        ({"label_key": "number"}, "no class label"),
        ({"image_key": "label"}, "no image"),
    ):
        with pytest.raises(DatasetError, match=message):
            load(folder, **arguments)


def test_array_record_is_read_without_tensorflow(prepared):
    file_format, folder = prepared
    if file_format != "array_record":
        pytest.skip("tfrecord needs TensorFlow")
    program = (
        "import sys; from tokenjax import data; data.load({'source': 'tfds',"
        f" 'name': 'local_digits', 'data_dir': {folder!r}, 'image_size': 8}});"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("source", ["cifar10", "cifar100"])
@pytest.mark.parametrize("download", [False, True])
def test_what_is_not_here_is_said_at_once(tmp_path, monkeypatch, source, download):
    def refuse(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    start = time.perf_counter()
    message = "cannot be downloaded" if download else "set download=True"
    with pytest.raises(DatasetError, match=message):
        data.load({"source": source, "data_dir": str(tmp_path), "download": download})
    assert time.perf_counter() - start < 5


def test_a_silent_network_is_given_up(tmp_path, monkeypatch):
    def hang(*arguments, **options):
        time.sleep(20)
        raise OSError("timed out")

    monkeypatch.setattr("socket.create_connection", hang)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    start = time.perf_counter()
    with pytest.raises(DatasetError, match=r"no connection to www\.cs\.toronto\.edu"):
        data.load({"source": "cifar10", "data_dir": str(tmp_path), "download": True})
    assert time.perf_counter() - start < 5


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no dataset 'cifar11'"):
        load(str(tmp_path), name="cifar11")
    with pytest.raises(DatasetError, match="cannot be opened"):
        load(str(tmp_path), name="cifar10/unknown")


def test_damaged_records_are_named(prepared, tmp_path):
    _, folder = prepared
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    records = next(copy.rglob("*-train.*record*"))
    content = bytearray(records.read_bytes())
    content[len(content) // 2 - 60 : len(content) // 2 + 60] = b"\xff" * 120
    records.write_bytes(content)
    # At load, or when an example is asked for: never other pixels, never a traceback.
    with pytest.raises(DatasetError, match=r"example \d+ of split 'train' of .* ca"):
        load(str(copy))
