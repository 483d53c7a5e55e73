"""What is installed: the package, its configurations, and nothing else."""

import email
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from helpers.training_runs import REPOSITORY

SOURCES = ("tokenjax", "configs", "references", "examples", "tests/helpers")
FILES = ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel('..')"
# Imports nothing of this checkout: only the unpacked wheel is on the path.
USE = """
import pathlib, sys
import tokenjax
from tokenjax import __main__, config_files
assert pathlib.Path(tokenjax.__file__).is_relative_to(sys.argv[1]), tokenjax.__file__
for name in ("configs/imbalanced.py:cifar10", "configs/vdpa.py:paper", "linear_vit"):
    config = config_files.load_config(name)
    print(name, config.model.name)
sys.argv = ["tokenjax"]
__main__.main()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The wheel, built from a copy and unpacked."""
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in FILES:
        shutil.copy(REPOSITORY / name, source / name)
    finished = subprocess.run(
        [sys.executable, "-c", BUILD],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    (wheel,) = root.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(root / "site")
    return root / "site"


def python_files(folder: pathlib.Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.py")}


def test_what_is_in_it(site):
    assert python_files(site / "tokenjax" / "configs") == python_files(
        REPOSITORY / "configs"
    )
    package = python_files(site / "tokenjax")
    package = {name for name in package if not name.startswith("configs/")}
    assert package == python_files(REPOSITORY / "tokenjax")
    (information,) = site.glob("tokenjax-*.dist-info")
    assert {path.name for path in site.iterdir()} == {"tokenjax", information.name}
    assert (
        "tokenjax = tokenjax.__main__:main"
        in (information / "entry_points.txt").read_text()
    )
    metadata = email.message_from_string((information / "METADATA").read_text())
    needed = metadata.get_all("Requires-Dist")
    assert any(each.startswith("jax<") for each in needed)


def test_it_works_without_the_checkout(site, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", USE, str(site)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    assert "configs/imbalanced.py:cifar10 cifar_vit_base" in finished.stdout
    assert "linear_vit linear_vit" in finished.stdout
    assert "  train " in finished.stdout
