import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenjax import data
from tokenjax.data import identity_epoch, identity_indices
from tokenjax.errors import DatasetError

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
        batches = identity_epoch(LABELS, 2, 4, data.partition.generator(5, epoch))
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


def test_batches_resume_at_any_step():
    images = np.arange(len(LABELS), dtype=np.uint8).reshape(-1, 1, 1, 1)
    split = data.ArraySplit(images, LABELS.astype(np.int32))
    whole = list(data.identity_batches(split, 1, 12, 4, 0, 9))
    resumed = list(data.identity_batches(split, 1, 12, 4, 5, 9))
    assert len(whole) == 9
    for left, right in zip(whole[5:], resumed, strict=True):
        assert np.array_equal(left["image"], right["image"])
        assert np.array_equal(LABELS[left["image"].ravel()], left["label"])


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
