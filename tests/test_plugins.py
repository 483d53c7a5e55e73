"""--import and installed plugins: what they name is imported, or said to be wrong."""

import sys

import pytest
from helpers.entry_points import run_in_process

from tokenjax import plugins
from tokenjax.errors import UserError


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files into the current folder; modules imported meanwhile are dropped."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)

    def write(name, content=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


COUNT = "import sys\nsys.times_run = getattr(sys, 'times_run', 0) + 1\n"


@pytest.fixture
def times_run():
    sys.times_run = 0
    yield lambda: sys.times_run
    del sys.times_run


@pytest.mark.parametrize("name", ["my_plugin", "my_plugin.py", "./my_plugin.py"])
def test_a_module_or_a_file(write, times_run, name):
    path = write("my_plugin.py", COUNT)
    plugins.import_modules([name, str(path), "my_plugin"])
    assert times_run() == 1
    assert sys.modules["my_plugin"].__file__ == str(path)


def test_a_module_of_a_package_and_what_lies_beside_a_file(write):
    write("my_package/__init__.py")
    write("my_package/models.py", "LOADED = 1\n")
    write("folder/mine.py", "import helper_beside\nVALUE = helper_beside.VALUE\n")
    write("folder/helper_beside.py", "VALUE = 3\n")
    path = list(sys.path)
    plugins.import_modules(["my_package.models", "folder/mine.py"])
    assert sys.modules["my_package.models"].LOADED == 1
    assert sys.modules["mine"].VALUE == 3
    assert sys.path == path


def test_a_file_with_the_name_of_a_library(write):
    """It is run, and the library stays what it is."""
    import numpy

    for name in ("numpy.py", "wave.py", "not-a-name.py"):
        write(name, "VALUE = 3\n")
        plugins.import_modules([name])
        again = set(sys.modules)
        plugins.import_modules([name])
        assert set(sys.modules) == again
    assert sys.modules["numpy"] is numpy
    assert "wave" not in sys.modules or hasattr(sys.modules["wave"], "open")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (
            "x = 1\n\nimport nowhere_at_all\n",
            "No module named 'nowhere_at_all' (line 3",
        ),
        ("def f(:\n", "SyntaxError: invalid syntax (line 1)"),
        (
            "def f():\n    return 1 / 0\nf()\n",
            "ZeroDivisionError: division by zero (li",
        ),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (line 2)"),
        (
            "from tokenjax.errors import UserError\nraise UserError('no such thing')\n",
            ": no such thing (line 2)",
        ),
    ],
)
@pytest.mark.parametrize("name", ["faulty", "faulty.py"])
def test_what_goes_wrong_in_it_is_a_sentence(write, name, content, part):
    write("faulty.py", content)
    for _ in range(2):  # what failed is not there the second time
        with pytest.raises(UserError) as error:
            plugins.import_modules([name])
        assert str(error.value).startswith(f"--import {name}: ")
        assert part in str(error.value)
        assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("nowhere_at_all", "no such module here or among the installed ones"),
        ("tokenjax.nowhere", "no such module here or among the installed ones"),
        ("gone.py", "no file gone.py"),
        ("folder/gone", "give a module (my_package.models) or a file that ends in .py"),
        ("", "give a module"),
    ],
)
def test_what_is_not_there(name, part):
    with pytest.raises(UserError) as error:
        plugins.import_modules([name])
    assert part in str(error.value)


def test_every_command_imports_before_it_looks_at_its_flags(write, times_run):
    write("mine.py", COUNT)
    write("yours.py", COUNT)
    finished = run_in_process("bench", "--import=mine", "--import", "yours.py")
    assert times_run() == 2
    assert "name a model" in finished.stderr
    finished = run_in_process("train", "--config", "gone.py", "--import", "theirs")
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: --import theirs: no such module")
    finished = run_in_process("train", "--import")
    assert finished.returncode == 2
    assert "import" in finished.stderr


def install(write, name, value):
    """Writes what pip leaves of a package with an entry point."""
    write(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\n")
    write(f"{name}-1.0.dist-info/entry_points.txt", f"[tokenjax]\nmodels = {value}\n")


def test_installed_plugins(write, tmp_path, monkeypatch, capsys, times_run):
    write("good_package/__init__.py")
    write("good_package/models.py", COUNT)
    install(write, "good_package", "good_package.models")
    write("bad_package.py", "import nowhere_at_all\n")
    install(write, "bad_package", "bad_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.load_installed.cache_clear()
    try:
        plugins.load_installed()
        plugins.load_installed()
    finally:
        plugins.load_installed.cache_clear()
    assert times_run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the plugin models (bad_package) is left out: ")
    assert line.endswith("No module named 'nowhere_at_all'")
