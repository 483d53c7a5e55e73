"""Imbalance: the recorded subset, the profiles' formulas, and what a run sees of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax import data
from tokenjax.data.dataset import ArraySplit, LazySplit, Subset, make_dataset
from tokenjax.errors import DatasetError

PROFILES = ("linear", "exponential")
available_counts = st.lists(st.integers(1, 300), min_size=1, max_size=12)


def numbered(labels, lazy=False):
    """Images that hold their own position; lazy ones are made on demand."""
    labels = np.asarray(labels, np.int32)
    numbers = np.arange(len(labels), dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (len(labels), 2, 2, 1))
    if lazy:
        return LazySplit(lambda index: images[index], labels, (2, 2, 1), 2)
    return ArraySplit(images, labels, {"number": np.arange(len(labels))})


def test_the_recorded_subset(golden):
    case = golden("cifar_vit/imbalance")
    arguments = case.meta["constructor_args"]
    counts = data.class_counts(
        "linear", np.array(arguments["per_class"]), arguments["imbalance_ratio"]
    )
    np.testing.assert_array_equal(counts, case["output/class_counts"])
    indices = data.imbalanced_indices(
        case["input/targets"], counts, arguments["numpy_seed"]
    )
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, case["output/indices"])


def test_published_counts():
    cifar = np.full(10, 5000)
    linear = data.class_counts("linear", cifar, 0.1)
    np.testing.assert_array_equal(linear, np.arange(5000, 0, -500))
    long_tailed = data.class_counts("exponential", cifar, 0.01)
    # CIFAR-10-LT of imbalance 100 (Cui et al. 2019).
    published = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    np.testing.assert_array_equal(long_tailed, published)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PROFILES), available_counts, st.floats(0.01, 1))
def test_counts_fall_and_stay_within_what_is_there(profile, available, ratio):
    available = np.array(available)
    if available.max() * ratio < 1:
        ratio = 1.0
    even = data.class_counts(profile, np.full_like(available, available.max()), ratio)
    assert (np.diff(even) <= 0).all()
    assert even[0] == available.max()
    if len(available) > 1:
        assert even[-1] == int(available.max() * ratio)
    counts = data.class_counts(profile, available, ratio)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, np.minimum(even, available))
    whole = data.class_counts(profile, available, 1.0)
    np.testing.assert_array_equal(whole, available)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_indices_are_distinct_and_class_after_class(labels, draws):
    labels = np.array(labels)
    counts = [draws.draw(st.integers(0, (labels == k).sum())) for k in range(5)]
    indices = data.imbalanced_indices(labels, np.array(counts), 7)
    assert len(np.unique(indices)) == len(indices) == sum(counts)
    np.testing.assert_array_equal(labels[indices], np.repeat(np.arange(5), counts))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linar", [9, 9], 0.5), "did you mean 'linear'"),
        (("linear", [9, 9], 100), "an imbalance of 100 is 0.01.*got 100"),
        (("linear", [9, 9], 0.0), r"within \(0, 1\]"),
        (("linear", [9, 9], float("nan")), r"within \(0, 1\]"),
        (("linear", [9, 0], 0.5), r"class 1 \('b'\) has no training examples"),
        (("linear", [9, 9], 0.1), r"none of the 9 .*class 1 \('b'\).*1/9 or more"),
        (("exponential", [9, 9], 0.1), r"class 1 \('b'\).*1/9 or more"),
    ],
)
def test_impossible_imbalance_is_refused(arguments, message):
    with pytest.raises(DatasetError, match=message):
        data.class_counts(*arguments, class_names=["a", "b"])


def test_impossible_draws_are_refused():
    with pytest.raises(DatasetError, match="class 1 has 1 examples, cannot keep 2"):
        data.imbalanced_indices(np.array([0, 0, 1]), np.array([1, 2]), 0)
    with pytest.raises(DatasetError, match="seed"):
        data.imbalanced_indices(np.array([0]), np.array([1]), -1)


@pytest.mark.parametrize("lazy", [False, True])
def test_only_the_train_split_is_thinned(lazy):
    labels = np.tile([0, 1, 2], 20)
    train, held_back = numbered(labels, lazy), numbered(labels[:9])
    dataset = make_dataset("numbers", "abc", train, held_back, held_back)
    thin = data.make_imbalanced(dataset, "linear", 0.2, 3)
    assert thin.validation is dataset.validation
    assert thin.test is dataset.test
    np.testing.assert_array_equal(thin.info.counts["train"], [20, 12, 4])
    np.testing.assert_array_equal(np.bincount(thin.train.labels), [20, 12, 4])
    np.testing.assert_array_equal(dataset.info.counts["train"], [20, 20, 20])
    assert (thin.info.mean, thin.info.std) == (dataset.info.mean, dataset.info.std)

    assert len(thin.train) == 36
    assert thin.train.image_shape == (2, 2, 1)
    batch = thin.train.gather(np.array([35, 0, 0]))
    np.testing.assert_array_equal(batch["label"], thin.train.labels[[35, 0, 0]])
    positions = batch["image"][:, 0, 0, 0]
    np.testing.assert_array_equal(labels[positions], batch["label"])
    if not lazy:
        np.testing.assert_array_equal(batch["number"], positions)
    again = data.make_imbalanced(dataset, "linear", 0.2, 3).train
    np.testing.assert_array_equal(again.indices, thin.train.indices)


def test_a_missing_class_is_named():
    train = numbered([0, 0, 2])
    dataset = make_dataset("numbers", "abc", train, train, train)
    with pytest.raises(DatasetError, match="'b'"):
        data.make_imbalanced(dataset, "linear", 0.5, 0)


@pytest.mark.parametrize("indices", [np.zeros(2), np.zeros((1, 2), int)])
def test_a_subset_takes_a_row_of_integers(indices):
    with pytest.raises(TypeError, match="indices"):
        Subset(numbered([0, 1]), indices)
