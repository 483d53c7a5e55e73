"""`tokenjax data prepare cifar10`, and the source that reads what it made."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers.cifar10_archive import (
    make_batches,
    pickled,
    write_archive,
    write_batches,
)
from helpers.entry_points import run_in_process

from tokenjax import data
from tokenjax.data.preparation import cifar10_archive, download
from tokenjax.data.sources import cifar10
from tokenjax.errors import DatasetError


@pytest.fixture
def official(tmp_path, monkeypatch):
    """An archive that passes for the official one, its batches, and a home."""

    def make(path, batches):
        write_batches(path, batches)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setattr(cifar10_archive, "MD5", md5)
        return path, batches

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make(tmp_path / "archive.tar.gz", make_batches())


def test_the_command_and_the_source(official, tmp_path):
    archive, batches = official
    arguments = ["data", "prepare", "cifar10", "--imbalanced", "--archive", archive]
    finished = run_in_process(*map(str, arguments))
    assert finished.returncode == 0, finished.stderr
    assert "100 training and 20 test images" in finished.stdout
    folder = tmp_path / "cache" / "tokenjax" / "data" / "cifar10"
    assert sorted(path.name for path in folder.iterdir()) == [
        "cifar10.npz",
        "imbalanced_indices.txt",
    ]

    dataset = data.load({"source": "cifar10", "validation_fraction": 0.0})
    assert dataset.info.class_names[0] == "airplane"
    assert dataset.info.mean == (0.4914, 0.4822, 0.4465)
    whole = dataset.train.gather(np.arange(100))
    training = [batches[f"data_batch_{number}"] for number in range(1, 6)]
    labels = [label for batch in training for label in batch["labels"]]
    assert whole["label"].tolist() == labels
    rows = np.concatenate([batch["data"] for batch in training])
    red = rows[:, :1024].reshape(-1, 32, 32)
    np.testing.assert_array_equal(whole["image"][..., 0], red)
    np.testing.assert_array_equal(
        whole["image"], rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    )
    assert dataset.test.labels.tolist() == batches["test_batch"]["labels"]
    assert data.example_names(dataset.train)[7] == "cifar10 train[7]"

    # The thinned set: 10 of the first class down to 1 of the last.
    kept = data.read_indices(folder / "imbalanced_indices.txt")
    counts = data.class_counts("linear", np.full(10, 10), 0.1)
    assert counts.tolist() == list(range(10, 0, -1))
    expected = data.imbalanced_indices(np.array(labels), counts, 42)
    np.testing.assert_array_equal(kept, expected)


def test_it_needs_no_tensorflow(official):
    archive, _ = official
    assert (
        run_in_process(
            "data", "prepare", "cifar10", "--archive", str(archive)
        ).returncode
        == 0
    )
    program = (
        "import sys; from tokenjax import data; data.load({'source': 'cifar10'});"
        "sys.exit(any(m.startswith('tensorflow') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_split_is_pytorchs(official, tmp_path):
    torch = pytest.importorskip("torch")
    archive, _ = official
    cifar10_archive.prepare(tmp_path / "set", archive, pickle_reader)
    arguments = {"source": "cifar10", "directory": str(tmp_path / "set")}
    dataset = data.load(arguments | {"division": "random", "split_seed": 42})
    train, held_back = torch.utils.data.random_split(
        range(100), [90, 10], generator=torch.Generator().manual_seed(42)
    )
    np.testing.assert_array_equal(dataset.train.indices, list(train.indices))
    np.testing.assert_array_equal(dataset.validation.indices, list(held_back.indices))
    by_class = data.load(arguments)
    assert by_class.info.counts["validation"].tolist() == [1] * 10


def pickle_reader(content, what):
    del what
    return pickle.loads(content, encoding="latin1")


def test_another_size(official, tmp_path):
    archive, _ = official
    cifar10_archive.prepare(tmp_path / "set", archive, pickle_reader)
    dataset = data.load(
        {"source": "cifar10", "directory": str(tmp_path / "set"), "image_size": 16}
    )
    assert dataset.train.image_shape == (16, 16, 3)


class Evil:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"test_batch": pickle.dumps({"data": Evil(), "labels": [0]})}, "print"),
        ({"test_batch": pickled({"data": [1, 2], "labels": [0]})}, "no batches of"),
        ({"test_batch": pickled([1])}, "no dictionary"),
        ({"test_batch": b"\x80\x02nonsense"}, "not a whole pickle"),
        ({"data_batch_3": None}, "holds no file cifar-10-batches-py/data_batch_3"),
    ],
)
def test_archives_of_other_things(official, monkeypatch, change, sentence, capsys):
    archive, batches = official
    files = {name: pickled(batch) for name, batch in batches.items()} | change
    write_archive(archive, {name: c for name, c in files.items() if c is not None})
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10_archive, "MD5", md5)
    finished = run_in_process("data", "prepare", "cifar10", "--archive", str(archive))
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.count("\n") == 1
    assert sentence in finished.stderr
    assert "ran" not in capsys.readouterr().out


def test_what_is_another_file_is_refused(official, tmp_path):
    archive, _ = official
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DatasetError, match=r"MD5 .* is due"):
        cifar10_archive.prepare(tmp_path / "set", archive, pickle_reader)
    with pytest.raises(DatasetError, match="no whole archive"):
        cifar10_archive.read_archive(archive, pickle_reader)
    assert not (tmp_path / "set").exists()


def test_damage_to_what_was_prepared_is_said(official, tmp_path):
    archive, _ = official
    path = cifar10_archive.prepare(tmp_path / "set", archive, pickle_reader)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for act in (
        lambda: data.load({"source": "cifar10", "directory": str(path.parent)}),
        lambda: cifar10_archive.prepare(path.parent, None, pickle_reader),
    ):
        with pytest.raises(DatasetError, match=r"is damaged.*prepare cifar10` again"):
            act()
    np.save(tmp_path / "array.npy", np.zeros(3))
    path.write_bytes((tmp_path / "array.npy").read_bytes())
    with pytest.raises(DatasetError, match="is damaged"):
        cifar10.read_prepared(path)


def test_data_that_is_not_there_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DatasetError, match="run `tokenjax data prepare cifar10`"):
        data.load({"source": "cifar10", "data_dir": str(tmp_path)})
    with pytest.raises(DatasetError, match=f"prepare cifar10 --output {tmp_path}`"):
        data.load({"source": "cifar10", "directory": str(tmp_path)})


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "reachable", lambda urls, seconds: False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    finished = run_in_process("data", "prepare", "cifar10", "--output", str(tmp_path))
    assert finished.returncode == 2
    assert finished.stderr == (
        "error: no connection to www.cs.toronto.edu: fetch "
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz where there is a "
        f"network and put it at {tmp_path}/cifar-10-python.tar.gz, then run this "
        "again\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prepare", "cifar11"], "did you mean 'cifar10'?"),
        (["prepare"], "takes nothing (persons are made up), or: prepare cifar10"),
        (["prepare", "cifar10", "--identities", "3"], "--identities is of `data`"),
        (["--output", "x", "--imbalanced"], "--imbalanced is of `data prepare`"),
        ([], "--output must be given"),
    ],
)
def test_other_words_and_flags(words, sentence):
    finished = run_in_process("data", *words)
    assert finished.returncode == 2
    assert sentence in finished.stderr
    assert finished.stderr.count("\n") == 1
