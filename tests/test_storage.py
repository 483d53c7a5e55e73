"""Stand-alone checkpoints: whole, of a known format, and replaced without a gap."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tokenjax import storage
from tokenjax.errors import CheckpointError, DamagedCheckpointError


def variables(value):
    return {"params": {"kernel": np.full((4, 3), value, np.float32)}}


@pytest.fixture
def saved(tmp_path):
    directory = tmp_path / "converted"
    storage.save_variables(directory, variables(1), {"model": {"name": "vit"}})
    return directory


ACCENTS = """
import pathlib, sys
from tokenjax import storage, tables
assert sys.getfilesystemencoding() == "ascii", "else nothing is tested"
root, name = pathlib.Path(sys.argv[1]), "ch\\xe2t"
storage.write_json(root / "classes.json", {"classes": [name]})
assert storage.read_json(root / "classes.json") == {"classes": [name]}
assert storage.read_json(root / "theirs.json") == [name]
columns = (tables.Column("class", lambda row: row),)
tables.write_csv([name], root / "classes.csv", columns)
"""


def test_text_is_utf8_in_every_locale(tmp_path):
    (tmp_path / "theirs.json").write_text('["ch\xe2t"]', encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", ACCENTS, str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | locale, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "classes.csv").read_text("utf-8") == "class\nch\xe2t\n"


def rewrite_metadata(directory, metadata):
    storage.write_json(directory / storage.METADATA, metadata)
    checksums = storage.read_json(directory / storage.CHECKSUMS)
    found = storage.directory_checksums(directory)
    for name in checksums:
        checksums[name] = found[name]
    storage.write_json(directory / storage.CHECKSUMS, checksums)


def test_saved_again_in_place(saved):
    storage.save_variables(saved, variables(2), {})
    found, metadata = storage.load_variables(saved)
    np.testing.assert_array_equal(found["params"]["kernel"], 2)
    assert metadata == {"format": storage.FORMAT}
    assert [path.name for path in saved.parent.iterdir()] == ["converted"]


def test_what_fails_leaves_the_one_before(saved, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_json", full)
    with pytest.raises(OSError, match="No space"):
        storage.save_variables(saved, variables(2), {})
    monkeypatch.undo()
    found, _ = storage.load_variables(saved)
    np.testing.assert_array_equal(found["params"]["kernel"], 1)
    assert [path.name for path in saved.parent.iterdir()] == ["converted"]


def test_formats(saved):
    rewrite_metadata(saved, {"model": {"name": "vit"}})  # of before there were numbers
    storage.load_variables(saved)
    rewrite_metadata(saved, {"format": storage.FORMAT + 1})
    with pytest.raises(CheckpointError, match="format 2, this tokenjax reads up to 1"):
        storage.load_variables(saved)
    rewrite_metadata(saved, {"format": "x"})
    with pytest.raises(DamagedCheckpointError, match="its format is 'x'"):
        storage.load_variables(saved)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"a": ', '"x"', "3"])
def test_damaged_checksums(saved, content):
    (saved / storage.CHECKSUMS).write_text(content)
    with pytest.raises(CheckpointError):
        storage.load_variables(saved)


def test_damaged_arrays(saved):
    for path in saved.rglob("d/*"):
        path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DamagedCheckpointError, match=r"variables/.* changed or gone"):
        storage.load_variables(saved)


def test_json_is_whole_or_absent(tmp_path):
    path = tmp_path / "a.json"
    storage.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        storage.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    nan, infinity = float("nan"), float("inf")
    value = {"a": [nan, (1.5, -infinity)], "b": {"c": np.float64(infinity), "d": 0}}
    storage.write_json(tmp_path / "x.json", value)

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert found == {"a": [None, [1.5, None]], "b": {"c": None, "d": 0}}
