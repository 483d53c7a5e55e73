"""The figures that set several models or splits side by side."""

import numpy as np
import pytest
from helpers.drawn_figures import assert_drawn

from tokenjax import plots

RNG = np.random.default_rng(0)
NAMES = ["cat", "dog", "a bird with a very long name"]


@pytest.mark.parametrize("count", [1, 4, 5])
def test_confusion_matrices(path, count):
    matrices = {f"model {n}": RNG.integers(0, 50, (3, 3)) for n in range(count)}
    matrices["model 0"][1] = 0  # a class without an image
    assert_drawn(path, plots.confusion_matrices(matrices, NAMES, path))


def test_many_classes(path):
    names = [f"class {index}" for index in range(60)]
    matrix = np.eye(60, dtype=int) * 9
    assert_drawn(path, plots.confusion_matrices({"one": matrix}, names, path))


def test_confusion_matrices_refuse(path):
    with pytest.raises(ValueError, match="no matrices"):
        plots.confusion_matrices({}, NAMES, path)
    for matrix in (np.ones((2, 2)), -np.ones((3, 3)), np.ones(3)):
        with pytest.raises(ValueError, match=r"b: a matrix must be \(3, 3\) counts"):
            plots.confusion_matrices({"a": np.ones((3, 3)), "b": matrix}, NAMES, path)
    assert not path.exists()


def test_attention_by_model(path):
    images = RNG.integers(0, 256, (3, 12, 12, 1), np.uint8)
    maps = {"one": RNG.dirichlet(np.ones(16), 3), "two": RNG.dirichlet(np.ones(9), 3)}
    maps["one"][0, :7] = 0  # patches that are gone
    assert_drawn(path, plots.attention_by_model(images, maps, NAMES, path))


def test_attention_by_model_refuses(path):
    images, good = np.zeros((3, 12, 12, 1)), np.full((3, 16), 1 / 16)
    for maps, titles, part in (
        ({}, NAMES, "0 models"),
        ({"a": good}, NAMES[:2], "2 titles"),
        ({"a": good[:2]}, NAMES, "a must be"),
        ({"a": good[:, :15]}, NAMES, "a must be"),
        ({"a": -good}, NAMES, "not negative"),
    ):
        with pytest.raises(ValueError, match=part):
            plots.attention_by_model(images, maps, titles, path)
    assert not path.exists()


def test_class_counts(path):
    counts = {"all": [500, 500, 500], "thinned": [500, 275, 50]}
    assert_drawn(path, plots.class_counts(counts, NAMES, path))


def test_class_counts_refuse(path):
    for counts in ({}, {"a": [1, 2]}, {"a": [1, 2, -3]}):
        with pytest.raises(ValueError, match=r"splits|counts"):
            plots.class_counts(counts, NAMES, path)
