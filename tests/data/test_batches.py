import gc
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.data.batches import (
    evaluation_batches,
    prefetch,
    train_batches,
    train_indices,
)
from tokenjax.data.dataset import ArraySplit
from tokenjax.data.partition import generator, stratified_split
from tokenjax.errors import DatasetError


def split_of(count: int) -> ArraySplit:
    numbers = np.arange(count)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 2, 2, 1))
    return ArraySplit(images.astype(np.uint8), numbers.astype(np.int32))


def stream(seed: int, batch_size: int, count: int, steps: int) -> np.ndarray:
    return np.concatenate(
        [train_indices(seed, step, batch_size, count) for step in range(steps)]
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(1, 40), st.integers(1, 25), st.integers(1, 4))
def test_every_epoch_holds_each_example_once(seed, batch_size, count, epochs):
    steps = -(-epochs * count // batch_size)
    indices = stream(seed, batch_size, count, steps)
    assert indices.dtype == np.int64
    assert indices.shape == (steps * batch_size,)
    for epoch in range(epochs):
        seen = indices[epoch * count : (epoch + 1) * count]
        assert np.array_equal(np.sort(seen), np.arange(count))


def test_epochs_and_seeds_differ():
    indices = stream(0, 50, 50, 2).reshape(2, 50)
    assert not np.array_equal(indices[0], indices[1])
    assert not np.array_equal(indices[0], train_indices(1, 0, 50, 50))


def test_the_stream_does_not_depend_on_batch_size():
    assert np.array_equal(stream(3, 7, 10, 30), stream(3, 30, 10, 7))


@pytest.mark.parametrize("arguments", [(0, 0, 0, 5), (0, 0, 5, 0), (0, -1, 5, 5)])
def test_impossible_batches_are_refused(arguments):
    with pytest.raises(DatasetError, match="a batch needs"):
        train_indices(*arguments)


def test_a_resumed_run_sees_the_same_batches():
    split = split_of(11)
    whole = list(train_batches(split, 5, 4, 0, 9))
    resumed = list(train_batches(split, 5, 4, 6, 9))
    assert len(whole) == 9
    for before, after in zip(whole[6:], resumed, strict=True):
        assert np.array_equal(before["image"], after["image"])
        assert np.array_equal(before["label"], after["label"])


def test_without_weights_an_epoch_is_the_seeds_permutation():
    order = np.concatenate([generator(4, epoch).permutation(10) for epoch in range(2)])
    assert np.array_equal(stream(4, 3, 10, 6), order[:18])


def weighted_stream(weights, seed: int, batch_size: int, steps) -> np.ndarray:
    size = len(weights)
    return np.concatenate(
        [train_indices(seed, step, batch_size, size, weights) for step in steps]
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=30).filter(any),
    st.integers(0, 9),
    st.integers(1, 40),
    st.integers(0, 5),
)
def test_weighted_draws_depend_on_seed_and_step_alone(weights, seed, batch, start):
    weights = np.array(weights)
    whole = weighted_stream(weights, seed, batch, range(8))
    assert whole.dtype == np.int64
    assert (weights[whole] > 0).all()
    # A copy shares no cached draws; nor does another order of asking change them.
    resumed = weighted_stream(weights.copy(), seed, batch, range(start, 8))
    assert np.array_equal(resumed, whole[start * batch :])
    back = [train_indices(seed, i, batch, len(weights), weights) for i in (7, 0)]
    assert np.array_equal(np.concatenate(back[::-1]), np.r_[whole[:batch], back[0]])
    assert np.array_equal(back[0], whole[7 * batch :])


def test_weighted_epochs_and_seeds_differ():
    weights = np.arange(1.0, 51.0)
    epochs = weighted_stream(weights, 0, 50, range(2)).reshape(2, 50)
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], train_indices(1, 0, 50, 50, weights))
    assert len(np.unique(epochs[0])) < 50  # with replacement


def test_other_weights_are_other_draws():
    first = train_indices(0, 0, 20, 2, np.array([1.0, 0.0]))
    second = train_indices(0, 0, 20, 2, np.array([0.0, 1.0]))
    assert (first == 0).all()
    assert (second == 1).all()


def test_an_epochs_weighted_draws_are_made_once(monkeypatch):
    drawn = []

    def counted(seed, epoch):
        drawn.append(epoch)
        return generator(seed, epoch)

    monkeypatch.setattr("tokenjax.data.batches.generator", counted)
    weighted_stream(np.ones(12), 3, 4, range(9))
    assert drawn == [0, 1, 2]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(4), r"must be \(3,\), got shape \(4,\)"),
        (np.ones((3, 1)), "got shape"),
        (np.zeros(3), "not all of them 0"),
        (np.array([1.0, -1.0, 1.0]), "0 or more"),
        (np.array([1.0, np.nan, 1.0]), "finite"),
        (np.array([1.0, np.inf, 1.0]), "finite"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    with pytest.raises(DatasetError, match=message):
        train_indices(0, 0, 2, 3, weights)


def test_a_resumed_weighted_run_sees_the_same_batches():
    split, weights = split_of(11), np.arange(11.0)
    whole = list(train_batches(split, 5, 4, 0, 9, weights))
    resumed = list(train_batches(split, 5, 4, 6, 9, weights.copy()))
    assert len(whole) == 9
    for before, after in zip(whole[6:], resumed, strict=True):
        assert np.array_equal(before["label"], after["label"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(1, 12))
def test_evaluation_covers_every_example_once(count, batch_size):
    batches = list(evaluation_batches(split_of(count), batch_size))
    assert all(len(batch["label"]) == batch_size for batch in batches)
    assert all(batch["mask"].dtype == bool for batch in batches)
    seen = [batch["label"][batch["mask"]] for batch in batches]
    assert np.array_equal(np.concatenate([*seen, []]), np.arange(count))
    if batches:
        padding = batches[-1]["label"][~batches[-1]["mask"]]
        assert (padding == count - 1).all()


@pytest.mark.parametrize("weights", [None, np.arange(11.0)])
def test_processes_gather_their_own_rows_of_the_same_batches(weights):
    split = split_of(11)
    whole = list(train_batches(split, 5, 4, 2, 9, weights))
    evaluated = list(evaluation_batches(split, 4))
    for rows in (np.array([0, 3]), np.array([1, 2])):
        own = list(train_batches(split, 5, 4, 2, 9, weights, rows))
        own += evaluation_batches(split, 4, rows)
        for part, batch in zip(own, whole + evaluated, strict=True):
            assert all(len(array) == 2 for array in part.values())
            assert all(np.array_equal(part[key], batch[key][rows]) for key in batch)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
    st.floats(0, 0.45),
    st.floats(0, 0.45),
    st.integers(0, 3),
)
def test_stratified_parts_are_a_partition(labels, second, third, seed):
    labels = np.array(labels)
    parts = stratified_split(labels, (second, third), seed)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    for label in np.unique(labels):
        count = (labels == label).sum()
        assert (labels[parts[0]] == label).sum() >= 1
        for part, fraction in zip(parts[1:], (second, third), strict=True):
            assert abs((labels[part] == label).sum() - fraction * count) <= 1
    again = stratified_split(labels, (second, third), seed)
    assert all(map(np.array_equal, parts, again))


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (-0.1,), (1.0,)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(DatasetError, match="fractions"):
        stratified_split(np.zeros(10), fractions, 0)


def prefetch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "tokenjax-prefetch"]


def test_prefetch_keeps_order_and_transforms_in_its_thread():
    names = set()

    def transform(number):
        names.add(threading.current_thread().name)
        return number * 2

    assert list(prefetch(range(20), 3, transform)) == list(range(0, 40, 2))
    assert names == {"tokenjax-prefetch"}
    assert not prefetch_threads()


def test_prefetch_works_ahead_but_no_further_than_its_size():
    made = []
    ready = threading.Event()

    def numbers():
        for number in range(10):
            made.append(number)
            if len(made) == 4:  # one handed out, two stored, one waiting for room
                ready.set()
            yield number

    items = prefetch(numbers(), 2)
    assert next(items) == 0
    assert ready.wait(5)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]
    items.close()


@pytest.mark.parametrize("place", ["iterator", "transform"])
def test_prefetch_raises_after_the_items_before(place):
    def numbers():
        yield 1
        yield 2
        if place == "iterator":
            raise KeyError("broken")
        yield 3

    def transform(number):
        if number == 3:
            raise KeyError("broken")
        return number

    items = prefetch(numbers(), 4, transform)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="broken"):
        next(items)
    assert not prefetch_threads()


@pytest.mark.parametrize("how", ["close", "forget", "never started"])
def test_prefetch_ends_with_its_generator(how):
    closed = []

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    items = prefetch(endless(), 2)
    if how != "never started":
        next(items)
        assert prefetch_threads()
    if how == "close":
        items.close()
    del items
    gc.collect()
    assert not prefetch_threads()
    assert closed == ([] if how == "never started" else [True])


def test_prefetch_reports_an_iterator_that_cannot_be_closed():
    class Stubborn:
        def __iter__(self):
            return iter([1])

        def close(self):
            raise OSError("will not close")

    items = prefetch(Stubborn(), 1)
    assert next(items) == 1
    with pytest.raises(OSError, match="will not close"):
        next(items)


def test_prefetch_size_is_checked_at_the_call():
    with pytest.raises(DatasetError, match="size"):
        prefetch([], 0)
