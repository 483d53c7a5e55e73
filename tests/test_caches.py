"""Caches are optional: none of them stops a program."""

import os
import pathlib

import pytest

from tokenjax import caches


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_it_is_made_in_the_home(home, capsys):
    place = home / ".cache" / "tokenjax" / "jax"
    assert caches.find_compilation_cache(None) == str(place)
    assert list(place.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_no_home(home, monkeypatch):
    """As with `docker run --user 12345`: no HOME, and no entry in /etc/passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 12345678)
    with pytest.raises(RuntimeError, match="home"):
        pathlib.Path.home()
    assert caches.find_compilation_cache(None) is None
    caches.settle()
    assert "~" not in os.environ["KERAS_HOME"]


def test_a_home_that_is_not_there(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home / "nonexistent"))
    assert caches.find_compilation_cache(None) is None
    caches.settle()
    assert "nonexistent" not in os.environ["KERAS_HOME"]
    assert list(home.iterdir()) == []


def test_a_home_is_kept(home, monkeypatch):
    caches.settle()
    assert "KERAS_HOME" not in os.environ
    monkeypatch.setenv("HOME", str(home / "nonexistent"))
    monkeypatch.setenv("KERAS_HOME", "mine")
    caches.settle()
    assert os.environ["KERAS_HOME"] == "mine"


@pytest.mark.parametrize("by", ["XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"])
def test_a_file_where_it_should_be(home, monkeypatch, capsys, by):
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    given = str(home / "file") if by == "JAX_COMPILATION_CACHE_DIR" else None
    assert caches.find_compilation_cache(given) is None
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {home / 'file'}")
    assert said.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_full_disk(home, monkeypatch, capsys):
    full = pathlib.Path("/dev/full")
    monkeypatch.setattr(caches.tempfile, "TemporaryFile", lambda dir: full.open("wb"))
    assert caches.find_compilation_cache(None) is None
    assert "No space left" in capsys.readouterr().err


def test_a_file_system_that_cannot_be_written(home, capsys):
    assert caches.find_compilation_cache("/proc/cache") is None
    assert "keeps no compiled programs" in capsys.readouterr().err


def test_a_bucket_is_jaxs_own_business(home):
    assert caches.find_compilation_cache("gs://bucket/x") == "gs://bucket/x"
