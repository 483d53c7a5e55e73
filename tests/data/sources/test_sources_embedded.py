"""Sources that need no file of the user's: digits and cluttered; and `load` itself."""

import subprocess
import sys
import time

import numpy as np
import pytest
from ml_collections import ConfigDict
from sklearn.datasets import load_digits

from tokenjax import data
from tokenjax.data.partition import generator
from tokenjax.data.sources.cluttered import _paste
from tokenjax.data.sources.digits import digit_arrays, digit_parts
from tokenjax.errors import DatasetError


@pytest.fixture(scope="module")
def clean():
    """Cluttered images without noise, so that digits can be compared exactly."""
    return data.load(
        {
            "source": "cluttered",
            "noise": 0.0,
            "train_examples": 400,
            "validation_examples": 50,
            "test_examples": 50,
        }
    )


def everything(split) -> dict[str, np.ndarray]:
    return split.gather(np.arange(len(split)))


def test_importing_data_imports_no_heavy_library():
    heavy = ("tensorflow", "tensorflow_datasets", "sklearn")
    program = (
        "import sys; from tokenjax import data; data.load({'source': 'digits'});"
        f"sys.exit(sum(name in sys.modules for name in {heavy}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_digits_are_scikit_learns():
    images, labels = digit_arrays(8)
    bundle = load_digits()
    assert np.array_equal(labels, bundle.target)
    assert np.array_equal(images, np.rint(bundle.images * 255 / 16))


def test_digits_dataset():
    dataset = data.load(ConfigDict({"source": "digits", "image_size": 16}))
    info = dataset.info
    assert (info.name, info.num_classes, info.image_shape) == (
        "digits",
        10,
        (16, 16, 1),
    )
    assert info.class_names == tuple("0123456789")
    lengths = [len(dataset.split(name)) for name in ("train", "validation", "test")]
    assert sum(lengths) == 1797
    images = everything(dataset.train)["image"] / 255
    assert np.allclose(info.mean, images.mean(), atol=1e-6)
    assert np.allclose(info.std, images.std(), atol=1e-6)
    for name, counts in info.counts.items():
        labels = dataset.split(name).labels
        assert labels.dtype == np.int32
        assert np.array_equal(counts, np.bincount(labels, minlength=10))
        assert counts.max() - counts.min() < 0.1 * len(labels)


def test_digits_split_follows_its_seed():
    first, again, other = digit_parts(0), digit_parts(0), digit_parts(1)
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])
    assert len(np.unique(np.concatenate(first))) == 1797


def test_unknown_split_names_the_valid_ones():
    dataset = data.load({"source": "digits", "image_size": 8})
    with pytest.raises(DatasetError, match="test, train, validation"):
        dataset.split("tset")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no 'source'"),
        ({"source": "digit"}, "did you mean 'digits'"),
        ({"source": "digits", "imagesize": 8}, "did you mean 'image_size'"),
        ({"source": "digits", "image_size": 8.5}, "image_size must be int, got 8.5"),
        ({"source": "digits", "image_size": True}, "must be int"),
        ({"source": "digits", "image_size": 0}, "image_size must be at least 1"),
        (
            {"source": "digits", "test_fraction": 1.5},
            "test_fraction must be within",
        ),
        ({"source": "digits", "split_seed": -1}, "seed"),
        ({"source": "image_folder"}, "needs 'directory'"),
        ({"source": "cluttered", "canvas": 32}, "64 to 512"),
        ({"source": "cluttered", "fragment_size": 30}, "fragment_size"),
        ({"source": "cluttered", "digit_size": 60}, "must fit into the canvas"),
        ({"source": "cluttered", "fragments": -1}, "fragments"),
        ({"source": "cluttered", "train_examples": 0}, "left for training"),
    ],
)
def test_bad_configurations_are_refused(config, message):
    with pytest.raises(DatasetError, match=message):
        data.load(config)


def test_names_are_sorted():
    assert data.names() == sorted(data.names())
    assert {"digits", "tfds", "cifar10", "image_folder"} <= set(data.names())


def test_cluttered_is_a_function_of_seed_part_and_index(clean):
    def load(**changes):
        return data.load({"source": "cluttered", "noise": 0.1} | changes)

    indices = np.array([5, 3, 5])
    first = load(train_examples=100).train.gather(indices)
    longer = load(train_examples=300).train.gather(indices)
    assert all(np.array_equal(first[key], longer[key]) for key in first)
    assert np.array_equal(first["image"][0], first["image"][2])
    other = load(train_examples=100, seed=1).train.gather(indices)
    assert not np.array_equal(first["image"], other["image"])
    parts = [everything(clean.split(name)) for name in ("validation", "test")]
    assert not np.array_equal(parts[0]["image"], parts[1]["image"])


def test_cluttered_boxes_hold_whole_digits_of_their_own_part(clean):
    images, labels = digit_arrays(20)
    for name, part in zip(("train", "validation", "test"), digit_parts(), strict=True):
        split = clean.split(name)
        batch = everything(split)
        assert batch["image"].shape == (len(split), 64, 64, 1)
        assert batch["box"].dtype == np.float32
        assert np.array_equal(batch["label"], split.labels)
        known = {_ink(images[index]).tobytes(): labels[index] for index in part}
        for image, label, box in zip(*batch.values(), strict=True):
            top, left, bottom, right = box.astype(int)
            assert 0 <= top < bottom <= 64
            assert 0 <= left < right <= 64
            assert known[image[top:bottom, left:right, 0].tobytes()] == label


def _ink(image: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_fragments_lie_evenly_wherever_they_do_not_touch_the_digit(clean):
    split = clean.train
    draws = generator(1).random(40_000)
    for corner in ([0, 0], [44, 44], [20, 7], [44, 0]):
        corners = np.tile(corner, (len(draws), 1))
        places = split._free_place(draws, corners)
        assert places.min() >= 0
        assert places.max() <= 64 - split.fragment_size
        away = (places + split.fragment_size <= corner) | (
            places >= np.array(corner) + 20
        )
        assert away.any(axis=1).all()
        side = 64 - split.fragment_size + 1
        blocked = np.prod(
            [min(c + 20, side) - max(c - split.fragment_size + 1, 0) for c in corner]
        )
        distinct = np.unique(places, axis=0)
        assert len(distinct) == side**2 - blocked


def test_fragment_places_do_not_tell_the_label(clean):
    rendered = everything(clean.train)
    # The same draws over unlike digits: what is outside the digit's square depends on
    # the label through no column of the table but the digit's own.
    draws = clean.train.draws
    correlation = np.corrcoef(draws[:, 1:].T, rendered["label"])[-1, :-1]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(draws))


def test_paste_keeps_the_brighter():
    canvas = np.full((1, 4, 4), 5, np.uint8)
    _paste(canvas, np.array([[[9, 1], [2, 7]]], np.uint8), np.array([[1, 2]]))
    assert canvas[0, 1:3, 2:].tolist() == [[9, 5], [5, 7]]
    assert canvas.sum() == 5 * 14 + 9 + 7


def test_cluttered_noise_has_its_deviation():
    dataset = data.load(
        {"source": "cluttered", "noise": 0.05, "fragments": 0, "train_examples": 40}
    )
    clear = data.load(
        {"source": "cluttered", "noise": 0.0, "fragments": 0, "train_examples": 40}
    )
    noisy, plain = (everything(d.train)["image"] / 255 for d in (dataset, clear))
    middle = (plain > 0.3) & (plain < 0.7)  # where nothing is clipped
    assert 0.045 < (noisy - plain)[middle].std() < 0.055


def test_a_cluttered_batch_is_quick():
    split = data.load({"source": "cluttered"}).train
    indices = np.arange(64)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        split.gather(indices)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01
