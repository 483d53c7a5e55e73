"""XLA's flags for GPUs: where, which, and never one that ends the process."""

import os
import subprocess
import sys

import pytest
from helpers import training_runs

from tokenjax import allocator, gpu_flags
from tokenjax.gpu_flags import Flag

LEVEL = Flag("xla_gpu_autotune_level", "2", "quicker")
PARALLEL = Flag("xla_gpu_force_compilation_parallelism", "8", "quicker")
UNKNOWN = Flag("xla_gpu_no_such_flag", "1", "of another version")


@pytest.fixture
def nvidia(tmp_path, monkeypatch):
    """A machine with an NVIDIA device, and a table of flags of which one is unknown."""
    for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", gpu_flags.VARIABLE):
        monkeypatch.setenv(name, "")  # restored, whatever a test sets
        monkeypatch.delenv(name)
    monkeypatch.setenv(gpu_flags.ADDED, "")
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(allocator, "NVIDIA", (f"{tmp_path}/nvidia[0-9]*",))
    monkeypatch.setattr(gpu_flags, "FLAGS", (LEVEL, UNKNOWN, PARALLEL))
    return tmp_path / "nvidia0"


def test_the_flags_that_xla_knows_are_added(nvidia, capsys):
    gpu_flags.settle()
    added = "--xla_gpu_autotune_level=2 --xla_gpu_force_compilation_parallelism=8"
    assert os.environ["XLA_FLAGS"] == added
    assert capsys.readouterr().err == ""
    gpu_flags.say_if_added()
    gpu_flags.say_if_added()
    assert capsys.readouterr().err.count(added) == 1


def test_what_a_user_has_set_is_kept(nvidia, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0 --xla_dump_to=there")
    gpu_flags.settle()
    assert os.environ["XLA_FLAGS"] == (
        "--xla_gpu_autotune_level=0 --xla_dump_to=there "
        "--xla_gpu_force_compilation_parallelism=8"
    )


def test_a_file_of_flags_is_all_the_users(nvidia, monkeypatch):
    """XLA reads the file that the variable names where it begins with no dash."""
    monkeypatch.setenv("XLA_FLAGS", "flags.txt")
    gpu_flags.settle()
    assert os.environ["XLA_FLAGS"] == "flags.txt"


@pytest.mark.parametrize(
    ("platforms", "there", "expected"),
    [
        ("", True, True),
        ("", False, False),
        ("cpu", True, False),
        ("cuda,cpu", True, True),
        ("gpu", True, True),
        ("tpu", True, False),
        ("cuda", False, False),
    ],
)
def test_where_they_are_added(nvidia, monkeypatch, platforms, there, expected):
    if not there:
        nvidia.unlink()
    if platforms:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert allocator.has_nvidia() is expected
    gpu_flags.settle()
    assert ("XLA_FLAGS" in os.environ) is expected


def test_each_library_must_know_a_flag(nvidia, tmp_path, monkeypatch):
    """jaxlib and the CUDA plugin both read the variable, and may differ in version."""
    plugin = tmp_path / "xla_cuda_plugin.so"
    plugin.write_bytes(b"\0xla_gpu_autotune_level\0xla_gpu_force_compilation_parallel")
    libraries = [*gpu_flags.libraries(), plugin]
    monkeypatch.setattr(gpu_flags, "libraries", lambda: libraries)
    assert gpu_flags.choose("") == [LEVEL]
    plugin.write_bytes(b"")
    assert gpu_flags.choose("") == []
    monkeypatch.setattr(gpu_flags, "libraries", lambda: [])
    assert gpu_flags.choose("") == []


def test_the_table_is_known_to_the_xla_that_is_here():
    """So that none of our own flags is lost by a slip of the pen."""
    assert gpu_flags.libraries()
    assert gpu_flags.choose("") == list(gpu_flags.FLAGS)
    for flag in gpu_flags.FLAGS:
        assert all(flag), "a name, a value, and why"
        assert not flag.name.startswith("-")


def test_xla_takes_what_is_found_and_ends_at_what_is_not(nvidia):
    """What `knows` says is what XLA does: else the process would end without a word."""
    program = "import jax; jax.devices()"
    for flag, known in ((LEVEL, True), (UNKNOWN, False)):
        library = gpu_flags.libraries()[0]
        assert gpu_flags.knows(library, flag.name) is known
        given = f"--{flag.name}={flag.value}"
        environment = training_runs.environment() | {"XLA_FLAGS": given}
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True
        )
        assert (ended.returncode == 0) is known
        assert (b"Unknown flag in XLA_FLAGS" in ended.stderr) is not known
