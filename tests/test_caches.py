"""Caches are optional: none of them stops a program."""

import os
import pathlib
import stat

import jax
import jaxlib
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
    place = home / ".cache" / "tokenjax" / "jax" / jaxlib.__version__
    assert caches.find_compilation_cache(None) == str(place)
    assert list(place.iterdir()) == []
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert capsys.readouterr().err == ""


def test_each_kind_of_gpu_has_its_own(home, monkeypatch):
    """XLA's cache of kernels does not say which device they were made for."""
    monkeypatch.setattr(caches.allocator, "has_nvidia", lambda: True)
    monkeypatch.setattr(caches, "ABOUT_DEVICES", str(home / "gpus" / "*" / "about"))
    found = [pathlib.Path(caches.find_compilation_cache(None)).name]
    for number, kind in enumerate(("NVIDIA H100 80GB HBM3", "NVIDIA H200")):
        about = home / "gpus" / str(number) / "about"
        about.parent.mkdir(parents=True)
        about.write_text(f"Model: \t\t {kind}\nIRQ:   \t\t 52\n")
        found.append(pathlib.Path(caches.find_compilation_cache(None)).name)
    version = jaxlib.__version__
    assert found == [
        f"{version}-NVIDIA",
        f"{version}-NVIDIA_H100_80GB_HBM3",
        f"{version}-NVIDIA_H100_80GB_HBM3-NVIDIA_H200",
    ]


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_where_others_can_write(home, capsys, mode):
    """What they leave there would run as code of ours."""
    place = home / "shared"
    place.mkdir()
    place.chmod(mode)
    assert caches.find_compilation_cache(str(place)) is None
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {place} keeps no compiled programs (others can")
    assert f"chmod go-w {place}" in said
    place.chmod(0o755)
    assert caches.find_compilation_cache(str(place)) == str(place)
    assert capsys.readouterr().err == ""


def test_anothers(home, monkeypatch, capsys):
    """Root may use it: in a container a user's mounted directory is another's."""
    place = home / "theirs"
    place.mkdir(mode=0o755)
    if os.getuid() == 0:
        os.chown(place, 12345, -1)
    owner = place.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert caches.find_compilation_cache(str(place)) is None
    assert "belongs to another user" in capsys.readouterr().err
    for user in (0, owner):
        monkeypatch.setattr(os, "getuid", lambda user=user: user)
        assert caches.find_compilation_cache(str(place)) == str(place)


def test_what_jax_is_told(home, monkeypatch):
    """On an accelerator small programs are kept too; a user's variables count more."""
    seconds = "jax_persistent_cache_min_compile_time_secs"
    others = "jax_persistent_cache_enable_xla_caches"
    monkeypatch.setattr(caches.allocator, "has_accelerator", lambda: False)
    assert caches.settings(own=True) == {seconds: 0.5, others: "all"}
    monkeypatch.setattr(caches.allocator, "has_accelerator", lambda: True)
    assert caches.settings(own=False) == {seconds: 0.05}
    monkeypatch.setenv(seconds.upper(), "3")
    monkeypatch.setenv(others.upper(), "none")
    assert caches.settings(own=True) == {}


def test_xlas_own_caches_are_known_and_harmless_here(tmp_path):
    """The setting is there in this jax, and a CPU's programs are kept as before."""
    names = list(caches.settings(own=True))
    kept = {name: getattr(jax.config, name) for name in names}
    try:
        for name, value in caches.settings(own=True).items():
            jax.config.update(name, value)
        assert float(jax.jit(lambda x: x * 3 + 17.25)(2.0)) == 23.25
    finally:
        for name, value in kept.items():
            jax.config.update(name, value)


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
