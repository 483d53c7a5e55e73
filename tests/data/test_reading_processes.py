"""Batches made by processes are those that one process makes."""

import pickle
import threading

import numpy as np
import pytest
from helpers.shard_sets import write_set

from tokenjax import data
from tokenjax.data.batches import _Shuffled
from tokenjax.data.threads import ReadingThreads, limit_threads, thread_count
from tokenjax.errors import BrokenImageError, DatasetError


@pytest.fixture
def split(tmp_path):
    write_set(tmp_path, {"train": [9, 8], "val": [1], "test": [1]})
    config = {"source": "tar_shards", "directory": str(tmp_path), "image_size": 4}
    return data.load(config).train


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[key], other[key]) for key in one
    )


def test_what_makes_a_batch_can_be_sent(split):
    here = list(data.train_batches(split, 2, 4, 3, 9))
    maker = _Shuffled(split, 2, 4, None, slice(None))
    maker(0)  # opens files and starts threads, which stay here
    there = pickle.loads(pickle.dumps(maker))
    assert len(pickle.dumps(maker)) < 5000, "the index travels"
    assert all(same(batch, there(3 + i)) for i, batch in enumerate(here))


def test_folders_can_be_sent_too(tmp_path):
    from PIL import Image

    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(6):
            path = tmp_path / label / f"{number}.png"
            Image.new("L", (9, 9), 20 * number).save(path)
    config = {"source": "image_folder", "directory": str(tmp_path), "image_size": 4}
    split = data.load({**config, "cache_bytes": 0}).train
    sent = pickle.loads(pickle.dumps(split))
    assert same(sent.gather(np.arange(5)), split.gather(np.arange(5)))


@pytest.mark.long  # test_what_makes_a_batch_can_be_sent holds what is sent
def test_batches_do_not_depend_on_processes(split):
    here = list(data.train_batches(split, 2, 4, 3, 12))
    for processes in (1, 2):
        there = list(data.train_batches(split, 2, 4, 3, 12, processes=processes))
        assert len(there) == len(here)
        assert all(map(same, here, there))
    path = split.path(0)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PNG", b"GNP"))
    stream = data.train_batches(split, 2, 4, 0, 12, processes=2)
    with pytest.raises(BrokenImageError, match=r"train-0000\.tar: \d{4}\.png is not"):
        list(stream)


def test_what_cannot_be_sent_is_refused():
    lock = threading.Lock()
    images = np.zeros(2, np.int32)
    split = data.LazySplit(lambda index: lock, images, (1, 1, 3))
    with pytest.raises(DatasetError, match="set reading_processes=0"):
        next(data.train_batches(split, 0, 1, 0, 1, processes=1))


def test_processes_share_the_cores(monkeypatch):
    assert thread_count(3) == 3
    before = thread_count(0)
    monkeypatch.setattr("tokenjax.data.threads._LIMIT", None)
    limit_threads(1)
    assert (thread_count(0), thread_count(3)) == (1, 3)
    monkeypatch.undo()
    assert thread_count(0) == before
    images = ReadingThreads(2).read(
        lambda index: np.full((1, 1, 1), index), [5, 3], (1, 1, 1)
    )
    assert images.ravel().tolist() == [5, 3]
