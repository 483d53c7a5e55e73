"""Tar shards as a data set: what is in them, in which order, and what is refused."""

import io
import itertools
import json
import pickle
import tarfile

import numpy as np
import pytest
from helpers.shard_sets import numbers, png, write_set, write_tar
from PIL import Image

from tokenjax import data
from tokenjax.data.images.image_sizes import read_picture
from tokenjax.data.shards import indexing, open_files
from tokenjax.errors import BrokenImageError, DatasetError


def load(directory, **arguments):
    config = {"source": "tar_shards", "directory": str(directory), "image_size": 4}
    return data.load(config | arguments)


def all_numbers(split):
    return numbers(split.gather(np.arange(len(split))))


@pytest.fixture
def shards(tmp_path):
    write_set(tmp_path, {"train": [5, 1, 4], "val": [3], "test": [2, 2]})
    return tmp_path


def test_parts_go_by_their_names(shards):
    dataset = load(shards)
    assert dataset.info.class_names == ("0", "1", "2")
    assert all_numbers(dataset.train) == list(range(10))
    assert all_numbers(dataset.validation) == [10, 11, 12]
    assert all_numbers(dataset.test) == [13, 14, 15, 16]
    assert dataset.train.labels.tolist() == [i % 3 for i in range(10)]
    counts = {part: count.tolist() for part, count in dataset.info.counts.items()}
    assert counts == {"train": [4, 3, 3], "validation": [1, 1, 1], "test": [1, 2, 1]}
    names = data.example_names(dataset.test)
    assert list(names) == [f"test-000{i // 2}.tar/{13 + i:04d}.png" for i in range(4)]
    assert names[-1] == names[2:][1] == "test-0001.tar/0016.png"


def test_patterns_choose_and_order(shards):
    dataset = load(shards, train="train-000{2,0}.tar", test="test-{0001..0001}.tar")
    assert all_numbers(dataset.train) == [6, 7, 8, 9, 0, 1, 2, 3, 4]
    assert all_numbers(dataset.test) == [15, 16]
    both = load(shards, train="*-0001.tar", validation="val*", test="train-0000.tar")
    assert all_numbers(both.train) == [15, 16, 5]


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("train-{0..}.tar", "braces"),
        ("train-{5..2}.tar", "braces"),
        ("train-{0000.tar", "braces"),
        ("train-{0002..0004}.tar", "no shards of the name train-0003.tar, train-0004"),
        ("*.jpg", "no shards of the name *.jpg"),
        ("val-0000.tar", "of two parts at once: val-0000.tar"),
    ],
)
def test_bad_patterns(shards, pattern, part):
    with pytest.raises(DatasetError) as raised:
        load(shards, train=pattern, validation="val-0000.tar")
    assert part in str(raised.value)


def test_images_are_those_of_the_files(tmp_path):
    content = io.BytesIO()
    gradient = np.arange(40 * 30 * 3).reshape(30, 40, 3) % 251
    Image.fromarray(gradient.astype(np.uint8)).save(content, "JPEG", quality=95)
    write_tar(tmp_path / "a.tar", {"x.JPG": content.getvalue(), "x.cls": b"0\n"})
    (tmp_path / "x.jpg").write_bytes(content.getvalue())
    found = load(tmp_path, image_size=9, crop=0.9, validation_fraction=0.0)
    batch = found.train.gather(np.array([0]))
    expected = read_picture(tmp_path / "x.jpg", (9, 9, 3), found.info.reading)
    assert np.array_equal(batch["image"][0], expected)


def test_labels_of_all_kinds(tmp_path):
    about = json.dumps({"label": "owl", "other": 3}).encode()
    members = {"a/0.png": png(0, 0), "a/0.txt": b"cat", "a/0.other": b"?"}
    members |= {"b/0.json": about, "b/0.txt": b"a caption", "b/0.png": png(1, 1)}
    members |= {"c.0.png": b"of no kind", "d.cls": b"alone"}
    write_tar(tmp_path / "all.tar", members)
    none_held_out = {"validation_fraction": 0.0, "test_fraction": 0.0}
    dataset = load(tmp_path, **none_held_out)
    assert dataset.info.class_names == ("cat", "owl")
    assert all_numbers(dataset.train) == [0, 1]
    (tmp_path / "classes.txt").write_text("owl\ncat\ndog\n")
    (tmp_path / ".tokenjax_index").rename(tmp_path / "away")
    dataset = load(tmp_path, **none_held_out)
    assert dataset.info.class_names == ("owl", "cat", "dog")
    assert dataset.train.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"7.png": b"x"}, "7.png has no label beside it"),
        ({"a/7.png": b"x", "b/7.cls": b"1"}, "a/7.png has no label beside it"),
        ({"7.png": b"x", "7.cls": b""}, "7.cls holds no label"),
        ({"7.png": b"x", "7.jpg": b"x", "7.cls": b"1"}, "more than one image"),
        ({"7.png": b"x", "7.cls": b"1", "8.txt": b"", "7.jpg": b"x"}, "than one image"),
        ({"7.png": b"x", "7.json": b"[1]"}, "7.png has no label"),
        ({"7.png": b"x", "7.json": b'{"label": 1.5}'}, "7.json holds no label"),
        ({"7.png": b"x", "7.cls": b"1000000000"}, "the label 1000000000"),
        ({"7.txt": b"x"}, "hold no images"),
    ],
)
def test_shards_without_good_labels(tmp_path, members, part):
    write_tar(tmp_path / "train-0.tar", members)
    with pytest.raises(DatasetError) as raised:
        load(tmp_path)
    assert part in str(raised.value)
    assert not list((tmp_path / ".tokenjax_index").iterdir()), "half an index stays"


@pytest.mark.parametrize("cut", ["in an image", "at a member", "header", "compressed"])
def test_damaged_shards_are_named(shards, cut):
    path = shards / "train-0002.tar"
    content = path.read_bytes()
    with tarfile.open(path) as archive:
        third = archive.getmembers()[4]
    if cut == "in an image":
        path.write_bytes(content[: third.offset_data + third.size // 2])
    elif cut == "at a member":
        path.write_bytes(content[: third.offset])
    elif cut == "header":
        path.write_bytes(content[: third.offset] + b"x" + content[third.offset + 1 :])
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(shards / "val-0000.tar")
    with pytest.raises(DatasetError) as raised:
        load(shards)
    sentence = str(raised.value)
    assert f"{path} is no whole tar file" in sentence
    assert "\n" not in sentence
    named = {"in an image": "0008.png", "compressed": "its start"}
    assert named.get(cut, "0007.cls") in sentence


def test_an_index_is_made_once_and_again_when_shards_change(shards, capsys):
    before = load(shards)
    assert "indexing 6 shards" in capsys.readouterr().err
    again = load(shards)
    assert capsys.readouterr().err == ""
    assert data.digest(again.train) == data.digest(before.train)
    write_tar(shards / "train-0001.tar", {"n.png": png(1, 99), "n.cls": b"1"})
    load(shards)
    assert capsys.readouterr().err == "", "as large as before: it is not looked into"
    more = {f"{i}.png": png(1, 99) for i in range(30)}
    more |= {f"{i}.cls": b"1" for i in range(30)}
    write_tar(shards / "train-0001.tar", dict(sorted(more.items())))
    changed = load(shards)
    said = capsys.readouterr().err
    assert "changed since they were indexed (train-0001.tar: 10240 bytes before" in said
    assert len(changed.train) == len(before.train) + 29
    assert data.digest(changed.train) != data.digest(before.train)
    assert data.digest(changed.test) == data.digest(before.test)


def test_shards_that_change_while_they_are_read(shards):
    train = load(shards).train
    path = shards / "train-0000.tar"
    content = bytearray(path.read_bytes())
    begin = int(train.index.look_up(np.array([1]))["offset"][0])
    content[begin : begin + 4] = b"none"
    path.write_bytes(content)
    with pytest.raises(BrokenImageError, match=r"train-0000\.tar: 0001\.png is not a"):
        train.gather(np.array([0, 1]))
    path.write_bytes(content[:700])
    with pytest.raises(DatasetError, match=r"train-0000\.tar ends within the image"):
        train.gather(np.array([4]))
    path.unlink()
    fresh = pickle.loads(pickle.dumps(train))
    with pytest.raises(DatasetError, match=r"train-0000\.tar cannot be opened"):
        fresh.gather(np.array([4]))


def test_a_damaged_index_says_what_to_do(shards):
    folder = load(shards).train.index.folder
    (folder / "entries.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DatasetError, match=r"entries\.npy is damaged .* delete"):
        load(shards)
    (folder / "index.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"index\.json is damaged .* delete"):
        load(shards)


def test_the_index_lies_where_one_can_write(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    folder = load(shards).train.index.folder
    assert folder.is_relative_to(tmp_path / "cache" / "tokenjax")
    chosen = load(shards, index=str(tmp_path / "mine")).train.index.folder
    assert chosen.parent == tmp_path / "mine"


def test_two_processes_index_at_once(shards, monkeypatch):
    real, other = indexing.write_index, []

    def slowly(*arguments):
        if not other:  # another process is quicker
            other.append(True)
            other.append(load(shards).train.index.folder)
        return real(*arguments)

    monkeypatch.setattr(indexing, "write_index", slowly)
    folder = load(shards).train.index.folder
    assert folder == other[1]
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]


def test_what_is_held_out_is_in_no_other_part(tmp_path):
    write_set(tmp_path, {"shard": [30, 20]}, classes=2)
    dataset = load(tmp_path, validation_fraction=0.1, test_fraction=0.2)
    parts = [all_numbers(dataset.split(n)) for n in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [35, 5, 10]
    assert sorted(itertools.chain(*parts)) == list(range(50))
    assert [sorted(part) == part for part in parts] == [True] * 3
    for name in ("train", "validation", "test"):
        split = dataset.split(name)
        counted = np.bincount(split.labels, minlength=2)
        assert dataset.info.counts[name].tolist() == counted.tolist()
    names = data.example_names(dataset.train)
    assert [int(name[-8:-4]) for name in names] == parts[0]
    other = load(tmp_path, validation_fraction=0.1, test_fraction=0.2, split_seed=1)
    digests = {data.digest(each.train) for each in (dataset, other, load(tmp_path))}
    assert len(digests) == 3
    with pytest.raises(DatasetError, match="leave none of 50 examples"):
        load(tmp_path, validation_fraction=0.6, test_fraction=0.4)


def test_few_files_are_open_at_a_time():
    opened, closed = [], []

    def start(number):
        opened.append(number)
        return number

    files = open_files.OpenFiles(start, closed.append, limit=2)
    for number in (0, 1, 0, 2, 1, 0):
        with files.use(number) as file:
            assert file == number
    assert opened == [0, 1, 2, 1, 0]  # who waited longest is closed
    assert closed == [1, 0, 2]
    with files.use(0), files.use(0):
        pass
    with pytest.raises(ZeroDivisionError), files.use(0):
        raise ZeroDivisionError
    assert len(opened) - len(closed) == 1
