"""Paths as users give them."""

import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from tokenjax import path_flags, paths
from tokenjax.errors import UserError


def test_every_spelling_of_one_place(tmp_path, monkeypatch):
    place = tmp_path.resolve() / "a b" / "é"
    place.mkdir(parents=True)
    (tmp_path / "link").symlink_to(place)
    monkeypatch.chdir(tmp_path / "a b")
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in (
        place,
        f"{place}//",
        "é",
        "./é/.",
        "../link",
        "../nothing/../a b/é",
        "~/a b/é",
        "~/link/../é",  # where the link leads, one up
    ):
        assert paths.resolve(spelling, "--workdir") == place, spelling
    assert paths.resolve("new/run", "x") == tmp_path.resolve() / "a b" / "new" / "run"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("gs://bucket/run", "an address"),
        (pathlib.Path("gs://bucket/run"), "an address"),
        ("S3://bucket", "an address"),
        ("https://host/run", "an address"),
        ("file:///tmp/run", "an address"),
        ("a\0b", "zero byte"),
        ("x\udcff", "no UTF-8"),
        (255 * "é", "too long"),
        ("~nobody-of-that-name/run", "no such home directory"),
    ],
)
def test_what_is_no_path_here(given, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        paths.resolve(given, "--workdir")
    assert str(caught.value).startswith("--workdir ")
    assert str(caught.value).isprintable()


def test_names_with_a_colon_are_paths(tmp_path):
    for name in ("12:30", "c:/run", "model:best"):
        assert paths.resolve(tmp_path / name, "x") == tmp_path.resolve() / name


def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match="circle"):
        paths.resolve(tmp_path / "a" / "run", "x")


def test_a_current_directory_that_is_gone(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the current directory is gone"):
        paths.resolve("run", "--workdir")


NAMED = """
import sys
from tokenjax import paths
from tokenjax.errors import UserError
sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
try:
    print(paths.resolve(sys.argv[1], "--workdir").name)
except UserError as error:
    print(error)
"""


def test_a_locale_that_cannot_name_it():
    """C++ libraries would make a directory of another name, or fail late."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def resolved(name, **environment):
        return subprocess.run(
            [sys.executable, "-c", NAMED, name],
            env={**os.environ, **environment},
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout.strip()

    assert resolved("run", **locale) == "run"
    assert resolved("rün", **locale).endswith("set PYTHONUTF8=1 in the environment")
    assert resolved("rün", LC_ALL="C", PYTHONUTF8="1") == "rün"


def test_a_flag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = flags.FlagValues()
    path_flags.define("workdir", "", "where", values)
    path_flags.define("csv", None, "where", values)
    values(["x"])
    assert (values.workdir, values.csv) == ("", None)
    values(["x", "--workdir", "a/../b/", "--csv=c.csv"])
    assert values.workdir == str(tmp_path.resolve() / "b")
    assert values.csv == str(tmp_path.resolve() / "c.csv")
