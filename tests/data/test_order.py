"""Shuffled orders: every example once, with or without a permutation; what is left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax import data
from tokenjax.data import order
from tokenjax.data.dataset import ArraySplit
from tokenjax.data.holding_out import Rest, draw_held_out
from tokenjax.data.samplers import train_indices
from tokenjax.errors import DatasetError

HUGE = 10**8 + 7


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_a_cipher_places_each_example_once(count, seed, epoch):
    whole = order.cipher((seed, epoch), count, np.arange(count))
    assert np.array_equal(np.sort(whole), np.arange(count))
    some = np.arange(count)[::-3]
    assert np.array_equal(order.cipher((seed, epoch), count, some), whole[some])


def test_orders_of_seeds_and_epochs_differ():
    places = np.arange(200)
    orders = [order.cipher(p, 200, places) for p in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len({tuple(each) for each in orders}) == 4
    for each in orders:  # neither sorted nor near it
        assert abs(np.corrcoef(places, each)[0, 1]) < 0.3


def test_a_huge_epoch_is_shuffled_without_a_permutation(monkeypatch):
    monkeypatch.setattr(order, "_permutation", None)  # whoever calls it fails
    batches = [train_indices(3, step, 64, HUGE) for step in range(3)]
    assert len(set(np.concatenate(batches).tolist())) == 3 * 64
    assert all(batch.min() >= 0 and batch.max() < HUGE for batch in batches)
    assert np.concatenate(batches).max() > 0.9 * HUGE
    last = train_indices(3, HUGE // 64, 64, HUGE)  # half of it is the next epoch's
    first = order.cipher((3, 1), HUGE, np.arange(64 - HUGE % 64))
    assert np.array_equal(last[HUGE % 64 :], first)
    assert np.array_equal(train_indices(3, 2, 64, HUGE), batches[2])


@pytest.mark.parametrize("count", [1000, HUGE])
def test_processes_share_a_batch(count):
    whole = train_indices(5, 11, 96, count)
    shares = [train_indices(5, 11, 96, count, rows=np.arange(k, 96, 4)) for k in (0, 1)]
    assert np.array_equal(shares[0], whole[::4])
    assert np.array_equal(shares[1], whole[1::4])
    assert not set(shares[0].tolist()) & set(shares[1].tolist())


def test_more_than_can_be_numbered():
    with pytest.raises(DatasetError, match="more than the 4294967296"):
        train_indices(0, 0, 4, 2**32 + 1)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_rest_is_what_was_not_held_out(draw):
    count = draw.draw(st.integers(1, 30))
    held = draw.draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    source = ArraySplit(images, (np.arange(count) % 3).astype(np.int32))
    rest = Rest(source, np.array(sorted(held), np.int64), 3)
    left = [i for i in range(count) if i not in held]
    batch = rest.gather(np.arange(len(rest)))
    assert batch["image"].ravel().tolist() == left
    assert batch["label"].tolist() == rest.labels.tolist() == [i % 3 for i in left]
    counts = np.bincount(rest.labels, minlength=3)
    assert rest.class_counts.tolist() == counts.tolist()
    assert (data.digest(rest) == data.digest(source)) is False


def test_parts_held_out_have_nothing_in_common():
    one, other = draw_held_out(100, [10, 30], seed=2)
    assert (len(set(one)), len(set(other))) == (10, 30)
    assert not set(one) & set(other)
    assert np.array_equal(one, np.sort(one))
    assert np.array_equal(draw_held_out(100, [10, 30], seed=2)[1], other)
    assert not np.array_equal(draw_held_out(100, [10, 30], seed=3)[1], other)
