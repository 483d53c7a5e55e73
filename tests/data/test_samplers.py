import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.data.partition import generator
from tokenjax.data.samplers import (
    identity_epoch,
    identity_indices,
    sampling_weights,
    train_indices,
)
from tokenjax.errors import DatasetError


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

    monkeypatch.setattr("tokenjax.data.samplers.generator", counted)
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


def test_sampling_weights():
    weights = sampling_weights(np.array([0, 2, 2, 0, 2, 2]))
    np.testing.assert_array_equal(weights, [1 / 2, 1 / 4, 1 / 4, 1 / 2, 1 / 4, 1 / 4])
    assert weights.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 1.0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(0, 50))
def test_weighted_batches_are_balanced(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    weights = sampling_weights(labels)
    draws = 2000
    indices = train_indices(seed, 0, draws, len(labels), weights)
    share = np.bincount(labels[indices], minlength=len(counts)) / draws
    expected = 1 / len(counts)
    deviation = np.sqrt(expected * (1 - expected) / draws)
    assert (abs(share - expected) < 6 * deviation).all()


LABELS = np.repeat(np.arange(7), [9, 4, 7, 2, 12, 5, 1])


class RecordedDraws:
    """The original's sources of randomness behind the two methods the sampler uses."""

    def __init__(self, python_seed: int, numpy_seed: int):
        self.python = random.Random(python_seed)
        self.numpy = np.random.RandomState(numpy_seed)

    def shuffle(self, array):
        self.python.shuffle(array)

    def choice(self, values, size, replace):
        if replace:
            return self.numpy.choice(values, size, replace=True)
        return self.python.sample(values, size)


def test_the_recorded_epochs_are_reproduced_index_by_index(golden):
    case = golden("reid/pk_sampler")
    arguments = case.meta["constructor_args"]
    instances = arguments["num_instances"]
    identities = arguments["batch_size"] // instances
    draws = RecordedDraws(arguments["python_seed"], arguments["numpy_seed"])
    pids = case["input/pids"]
    first = identity_epoch(pids, identities, instances, draws)
    assert np.array_equal(first.ravel(), case["output/indices"])
    lengths = [
        identity_epoch(pids, identities, instances, draws).size for _ in range(20)
    ]
    assert lengths == case["output/epoch_lengths"].tolist()


@st.composite
def labelled(draw):
    identities = draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(1, 9), min_size=identities, max_size=8))
    labels = np.repeat(np.arange(len(counts)) * 3, counts)
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(labels))
    return labels[order], identities


@given(labelled(), st.integers(1, 5), st.integers(0, 2**32))
def test_every_batch_has_p_identities_of_k_instances(example, instances, seed):
    labels, identities = example
    epoch = identity_epoch(labels, identities, instances, np.random.default_rng(seed))
    assert epoch.dtype == np.int64
    assert epoch.shape[1:] == (identities * instances,)
    shown = labels[epoch].reshape(len(epoch), identities, instances)
    assert (shown == shown[:, :, :1]).all()  # identity by identity
    for batch in shown[:, :, 0].tolist():
        assert len(set(batch)) == identities

    # Nothing twice but where an identity has fewer than K; no group beyond its own.
    groups = Counter(shown[:, :, 0].ravel().tolist())
    uses = Counter(epoch.ravel().tolist())
    left = 0
    for label, count in Counter(labels.tolist()).items():
        limit = max(count // instances, 1)
        assert groups[label] <= limit
        left += groups[label] < limit
        if count >= instances:
            assert all(uses[index] <= 1 for index in np.flatnonzero(labels == label))
    assert left < identities  # it ended because it had to


def test_an_identity_of_one_example_is_that_example_k_times():
    epoch = identity_epoch(LABELS, 7, 4, np.random.default_rng(0))
    alone = epoch[LABELS[epoch] == 6]
    assert len(alone) == 4
    assert (alone == len(LABELS) - 1).all()


def test_epochs_follow_one_another_and_differ():
    stream = np.stack([identity_indices(LABELS, 5, step, 8, 4) for step in range(30)])
    start = 0
    for epoch in range(3):
        batches = identity_epoch(LABELS, 2, 4, generator(5, epoch))
        assert np.array_equal(stream[start : start + len(batches)], batches)
        start += len(batches)
    assert not np.array_equal(stream[:3], stream[len(batches) : len(batches) + 3])
    other = identity_indices(LABELS, 6, 0, 8, 4)
    assert not np.array_equal(stream[0], other)


@given(st.integers(0, 60), st.integers(0, 3))
def test_a_step_alone_is_that_step_of_the_stream(step, seed):
    # Labels of their own: no cache can know them from an earlier example.
    shift = 10 * step + seed
    alone = identity_indices(LABELS + shift, seed, step, 8, 4)
    stream = [identity_indices(LABELS, seed, each, 8, 4) for each in range(step + 1)]
    assert np.array_equal(alone, stream[-1])
    assert np.array_equal(stream[0], identity_indices(LABELS, seed, 0, 8, 4))


def test_what_a_caller_writes_does_not_reach_the_next_one():
    labels = LABELS.copy()
    first = identity_indices(labels, 0, 0, 8, 4)
    expected = first.copy()
    first[:] = -1
    assert np.array_equal(identity_indices(labels, 0, 0, 8, 4), expected)
    labels[:] = labels[::-1].copy()
    shown = labels[identity_indices(labels, 0, 0, 8, 4)].reshape(2, 4)
    assert (shown == shown[:, :1]).all()


@pytest.mark.parametrize(
    ("batch_size", "instances", "step", "message"),
    [
        (10, 4, 0, "multiple of instances.*batch_size 10, instances 4"),
        (0, 4, 0, "multiple of instances"),
        (8, 0, 0, "multiple of instances"),
        (8, 4, -1, "step -1"),
        (32, 4, 0, "8 identities x 4 instances cannot be drawn from 7 identities"),
    ],
)
def test_sizes_that_cannot_be(batch_size, instances, step, message):
    with pytest.raises(DatasetError, match=message):
        identity_indices(LABELS, 0, step, batch_size, instances)
