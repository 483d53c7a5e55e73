"""Imbalance: the recorded subset, the profiles' formulas, and what a run sees of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax import data
from tokenjax.data.dataset import ArraySplit, LazySplit, Subset, make_dataset
from tokenjax.data.imbalance import validation_indices
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


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.data())
def test_validation_is_of_what_was_left_out(labels, draws):
    labels = np.array(labels)
    size = draws.draw(st.integers(1, len(labels) - 1))
    kept = np.random.default_rng(size).permutation(len(labels))[:size]
    left = np.setdiff1d(np.arange(len(labels)), kept)
    even = validation_indices(labels, kept, "left_out")
    assert set(even) <= set(left)
    there = np.bincount(labels[left], minlength=5)
    counts = np.bincount(labels[even], minlength=5)
    assert ((counts > 0) == (there > 0)).all()
    assert set(counts[there > 0]) == {there[there > 0].min()}
    np.testing.assert_array_equal(even, validation_indices(labels, kept, "left_out"))
    first = validation_indices(labels, kept, "recorded")
    np.testing.assert_array_equal(first, left[:5000])


def test_the_originals_set_and_its_validation():
    """All 50,000: 5000, ..., 500 are trained on; of the first class none is left."""
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(10), 5000))
    whole, test = numbered(labels), numbered(labels[:9])
    empty = Subset(whole, np.arange(0))
    names = [str(number) for number in range(10)]
    dataset = make_dataset("cifar", names, whole, empty, test, ((0.5,), (0.5,)))
    thin = data.make_imbalanced(dataset, "linear", 0.1, 42, validation="left_out")
    assert thin.info.counts["train"].tolist() == list(range(5000, 0, -500))
    assert thin.info.counts["validation"].tolist() == [0] + [500] * 9
    assert thin.info.whole_train.tolist() == [5000] * 10
    assert not set(thin.train.indices) & set(thin.validation.indices)
    recorded = data.make_imbalanced(dataset, "linear", 0.1, 42, validation="recorded")
    counts = recorded.info.counts["validation"]
    assert counts[0] == 0
    assert counts.sum() == 5000
    assert 0.18 < counts[9] / 5000 < 0.22  # the opposite imbalance


def test_a_list_of_indices_is_what_is_kept(tmp_path):
    labels = np.tile([0, 1, 2], 20)
    split = numbered(labels)
    dataset = make_dataset("numbers", "abc", split, split, split)
    drawn = data.make_imbalanced(dataset, "linear", 0.2, 3)
    text, binary = tmp_path / "list.txt", tmp_path / "list.npy"
    data.write_indices(text, drawn.train.indices, ["what was kept", "of 60"])
    np.save(binary, drawn.train.indices.astype(np.int32))
    assert text.read_text().startswith("# what was kept\n# of 60\n")
    for path in (text, binary):
        indices = data.read_indices(path)
        again = data.make_imbalanced(dataset, "none", indices=indices)
        assert data.digest(again.train) == data.digest(drawn.train)
        assert again.info.counts["train"].tolist() == [20, 12, 4]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], "names none"),
        ([0, 3], "number 3, and the source has 0 to 2"),
        ([1, 1], "twice"),
    ],
)
def test_lists_of_other_examples_are_refused(indices, message):
    dataset = make_dataset("n", "ab", *[numbered([0, 1, 1])] * 3)
    with pytest.raises(DatasetError, match=message):
        data.make_imbalanced(dataset, "none", indices=np.array(indices, np.int64))


def test_nothing_left_out_is_no_validation():
    dataset = make_dataset("n", "ab", *[numbered([0, 1, 1])] * 3)
    with pytest.raises(DatasetError, match="it left out none"):
        data.make_imbalanced(dataset, "linear", 1.0, 0, validation="left_out")


@pytest.mark.parametrize(
    "content", [b"1\n2.5\n", b"one", b"\xff\xfe", b"99999999999999999999"]
)
def test_files_that_are_no_lists(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="no list of indices"):
        data.read_indices(path)
    with pytest.raises(DatasetError, match="no list of indices"):
        data.read_indices(tmp_path / "nothing.txt")
    for array in (np.zeros((2, 2), int), np.zeros(3), np.array([{}], object)):
        np.save(tmp_path / "list.npy", array)
        with pytest.raises(DatasetError, match="no list of indices"):
            data.read_indices(tmp_path / "list.npy")
