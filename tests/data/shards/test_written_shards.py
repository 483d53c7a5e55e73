"""Shards that are written: of both kinds, read again, through the command too."""

import numpy as np
import pytest
from helpers.entry_points import run_in_process
from helpers.shard_sets import numbers, png, write_set
from PIL import Image

from tokenjax import data
from tokenjax.data.encoded import read_file
from tokenjax.data.shards import record_files
from tokenjax.data.shards.conversion import write_shards
from tokenjax.errors import DatasetError

KINDS = {"tar": "tar_shards", "array_record": "array_record"}


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            path = tmp_path / "photos" / name / f"{index}.png"
            path.write_bytes(png(label, 10 * label + index, (30, 20)))
    return tmp_path / "photos"


def load(source, directory, **arguments):
    config = {"source": source, "directory": str(directory), "image_size": 4}
    return data.load(config | arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_becomes_shards(folder, tmp_path, kind):
    shards = tmp_path / kind
    given = ("--input", folder, "--output", shards, "--kind", kind)
    done = run_in_process("shards", "write", *given)
    assert (done.returncode, done.stdout) == (
        0,
        f"{shards}: 3 shards, 24 train, 3 validation, 3 test images\n",
    )
    done = run_in_process("shards", "index", "--input", shards, "--kind", kind)
    assert "30 examples of 3 classes in 3 shards" in done.stdout
    ours, theirs = load(KINDS[kind], shards), load("image_folder", folder)
    assert ours.info.class_names == theirs.info.class_names
    for part in ("train", "validation", "test"):
        batch = ours.split(part).gather(np.arange(len(ours.split(part))))
        other = theirs.split(part).gather(np.arange(len(theirs.split(part))))
        rows, expected = np.argsort(numbers(batch)), np.argsort(numbers(other))
        assert np.array_equal(batch["image"][rows], other["image"][expected])
    assert numbers(batch) != sorted(numbers(batch)), "each shard is a fair sample"
    before = [path.read_bytes() for path in sorted(shards.glob("*-0*"))]
    again = tmp_path / "again"
    run_in_process("shards", "write", *given[:3], again, *given[4:])
    assert before == [path.read_bytes() for path in sorted(again.glob("*-0*"))]


def test_shards_have_the_size_that_is_asked_for(folder, tmp_path):
    dataset = load("image_folder", folder, cache_bytes=0, test_fraction=0.0)
    for kind, source in KINDS.items():
        paths = write_shards(dataset, tmp_path / kind, kind, 5000, 8)
        assert len(paths) > 4
        read = load(source, tmp_path / kind, test_fraction=0.0).train
        assert len(read) == 27
        with Image.open(folder / "cat" / "0.png") as image:
            assert image.size == (30, 20)
        (tmp_path / "one.jpg").write_bytes(read_file(read, 0))
        with Image.open(tmp_path / "one.jpg") as image:
            assert (image.format, image.size) == ("JPEG", (12, 8))
    with pytest.raises(DatasetError, match="is not empty"):
        write_shards(dataset, tmp_path / "tar", "tar", 5000, 0)


def test_a_set_without_files_becomes_png(tmp_path):
    digits = data.load(
        {"source": "digits", "image_size": 8, "test_per_class": 2, "train_per_class": 1}
    )
    write_shards(digits, tmp_path / "digits", "tar", 2**20, 0)
    read = load("tar_shards", tmp_path / "digits", image_size=8)
    assert read.info.counts["test"].tolist() == [2] * 10
    images = {
        (int(label), image.tobytes())
        for split in (read.test, digits.test)
        for batch in [split.gather(np.arange(20))]
        for label, image in zip(batch["label"], batch["image"][..., :1], strict=True)
    }
    assert len(images) == 20


def test_damaged_records_are_named(folder, tmp_path):
    shards = tmp_path / "records"
    given = ("--input", folder, "--output", shards, "--kind", "array_record")
    run_in_process("shards", "write", *given)
    path = shards / "train-0000.array_record"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r"train-0000\.array_record is no whole"):
        load("array_record", shards)
    middle = content.find(b"PNG") + 20
    path.write_bytes(content[:middle] + b"~~~~" + content[middle + 4 :])
    with pytest.raises(DatasetError, match="record is damaged within records 0 to 23"):
        load("array_record", shards)
    path.write_bytes(content)
    train = load("array_record", shards).train
    assert data.example_names(train)[0].startswith("train-0000.array_record/0000000")
    path.write_bytes(content[:middle] + b"~~~~" + content[middle + 4 :])
    with pytest.raises(DatasetError, match=r"train-0000\.array_record cannot be read"):
        train.gather(np.arange(24))


@pytest.mark.parametrize("record", [b"", b"x\ny", b'{"label": 1}\n', b'[1]\n"'])
def test_records_of_others(record):
    with pytest.raises(DatasetError, match="a file: record 3 is no line of JSON"):
        record_files.decode_record(record, "a file: record 3")


def test_records_are_what_they_were():
    record = record_files.encode_record("a\nb.jpg", "kätzchen", b"\n\x00\n")
    assert record_files.decode_record(record, "") == (
        "a\nb.jpg",
        "kätzchen",
        b"\n\x00\n",
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "`shards` takes write or index; got ''"),
        (["wrote"], "did you mean 'write'?"),
        (["write"], "--input must be given"),
        (["write", "--input=."], "--output must be given"),
        (["write", "--input=.", "--label_key=x"], "--label_key is of `shards index`"),
        (["index", "--input=.", "--shorter_side=1"], "is of `shards write`"),
        (["index", "--input=nowhere"], "nowhere is not a directory of shards"),
        (["index", "--input={}"], "holds no shard (*.tar)"),
    ],
)
def test_mistakes_of_the_command(tmp_path, arguments, part):
    done = run_in_process("shards", *(each.format(tmp_path) for each in arguments))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert part in line


def test_an_index_of_the_command_is_the_runs(tmp_path):
    write_set(tmp_path, {"train": [5, 5], "val": [2]})
    done = run_in_process(
        "shards", "index", "--input", tmp_path, "--train", "train-{0000..0001}.tar"
    )
    folder = load("tar_shards", tmp_path, train="train-{0000..0001}.tar").train
    assert str(folder.source.index.folder) in done.stdout
