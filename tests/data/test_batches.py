import gc
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.data.batches import (
    evaluation_batches,
    identity_batches,
    prefetch,
    train_batches,
)
from tokenjax.data.dataset import ArraySplit
from tokenjax.data.partition import random_split, stratified_split
from tokenjax.errors import DatasetError


def split_of(count: int) -> ArraySplit:
    numbers = np.arange(count)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 2, 2, 1))
    return ArraySplit(images.astype(np.uint8), numbers.astype(np.int32))


def test_a_resumed_run_sees_the_same_batches():
    split = split_of(11)
    whole = list(train_batches(split, 5, 4, 0, 9))
    resumed = list(train_batches(split, 5, 4, 6, 9))
    assert len(whole) == 9
    for before, after in zip(whole[6:], resumed, strict=True):
        assert np.array_equal(before["image"], after["image"])
        assert np.array_equal(before["label"], after["label"])


def test_a_resumed_weighted_run_sees_the_same_batches():
    split, weights = split_of(11), np.arange(11.0)
    whole = list(train_batches(split, 5, 4, 0, 9, weights))
    resumed = list(train_batches(split, 5, 4, 6, 9, weights.copy()))
    assert len(whole) == 9
    for before, after in zip(whole[6:], resumed, strict=True):
        assert np.array_equal(before["label"], after["label"])


def test_identity_batches_resume_at_any_step():
    labels = np.repeat(np.arange(7), [9, 4, 7, 2, 12, 5, 1])
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    split = ArraySplit(images, labels.astype(np.int32))
    whole = list(identity_batches(split, 1, 12, 4, 0, 9))
    resumed = list(identity_batches(split, 1, 12, 4, 5, 9))
    assert len(whole) == 9
    for left, right in zip(whole[5:], resumed, strict=True):
        assert np.array_equal(left["image"], right["image"])
        assert np.array_equal(labels[left["image"].ravel()], left["label"])


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


def test_a_random_split_is_pytorchs():
    torch = pytest.importorskip("torch")
    for count, fraction, seed in ((500, 0.1, 42), (7, 0.3, 0), (1, 0.0, 2**32 - 1)):
        kept = int((1 - fraction) * count)
        theirs = torch.utils.data.random_split(
            range(count),
            [kept, count - kept],
            generator=torch.Generator().manual_seed(seed),
        )
        ours = random_split(count, fraction, seed)
        for part, other in zip(ours, theirs, strict=True):
            assert part.tolist() == list(other.indices)
    assert [len(part) for part in random_split(0, 0.1, 0)] == [0, 0]
    for fraction, seed in ((1.0, 0), (0.1, -1)):
        with pytest.raises(DatasetError, match=r"fractions|2\^32"):
            random_split(9, fraction, seed)


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
