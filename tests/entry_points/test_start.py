"""How a program of ours starts: again, on huge pages, where nothing else is lost."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from helpers import training_runs

from tokenjax import allocator, command_line

LINUX = pytest.mark.skipif(not allocator.has_glibc(), reason="a setting of glibc")
# --import runs it in the process that does the work, before any flag is missed.
SPY = """
import os, sys
print("begun with", os.environ.get("GLIBC_TUNABLES"), flush=True)
"""
SAID = "started again with glibc's allocator"


@pytest.fixture
def start(tmp_path):
    """Starts Python with arguments; `{spy}` stands for the spy's path."""
    spy = tmp_path / "spy.py"
    spy.write_text(SPY)

    def start(*arguments, stdin=None, encoding=None, **extra):
        environment = training_runs.environment()
        environment.pop("GLIBC_TUNABLES", None)
        return subprocess.run(
            [sys.executable, *(str(each).format(spy=spy) for each in arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            encoding=encoding,
            env=environment | extra,
            cwd=training_runs.REPOSITORY,
            timeout=240,
        )

    return start


CONSOLE_SCRIPT = """
import sys
from tokenjax.__main__ import main
sys.exit(main())
"""


@LINUX
@pytest.mark.parametrize(
    "arguments",
    [
        ["train.py"],
        ["-W", "ignore", "-u", "eval.py"],
        ["-m", "tokenjax", "study"],
        ["-m", "tokenjax.study"],
        ["{console}", "train"],
    ],
)
def test_our_programs_start_again(start, tmp_path, arguments):
    console = tmp_path / "tokenjax"
    console.write_text(CONSOLE_SCRIPT)
    arguments = [each.replace("{console}", str(console)) for each in arguments]
    finished = start(*arguments, "--import", "{spy}", "--verbosity=0")
    assert finished.stdout == f"begun with {allocator.ALLOCATOR}\n"
    # What was wrong is one line: nothing was done that the setting could matter to.
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
    assert "--config" in finished.stderr
    assert finished.returncode == 2


@LINUX
def test_it_is_said_once(start, tmp_path):
    size = ["--identities", 4, "--height", 32, "--width", 16, "--images_per_camera", 1]
    finished = start("-m", "tokenjax", "data", "--output", tmp_path / "set", *size)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count(SAID) == 1
    assert allocator.STARTED not in finished.stdout + finished.stderr
    assert "4 identities" in finished.stdout


@LINUX
def test_what_a_user_has_set_is_kept(start):
    mine = "glibc.malloc.check=0"
    finished = start("train.py", "--import", "{spy}", GLIBC_TUNABLES=mine)
    assert finished.stdout == f"begun with {mine}\n"


def test_an_accelerator_is_left_alone(start):
    finished = start("train.py", "--import", "{spy}", JAX_PLATFORMS="cuda,cpu")
    assert finished.stdout == "begun with None\n"


@pytest.mark.parametrize(
    ("variables", "devices", "expected"),
    [
        ({"JAX_PLATFORMS": "cpu"}, True, False),
        ({"JAX_PLATFORMS": "cuda"}, False, True),
        ({"JAX_PLATFORMS": "tpu,cpu"}, False, True),
        ({"JAX_PLATFORM_NAME": "gpu"}, False, True),
        ({}, True, True),
        ({}, False, False),
    ],
)
def test_whether_there_is_an_accelerator(
    monkeypatch, tmp_path, variables, devices, expected
):
    for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if devices:
        (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(allocator, "DEVICES", (f"{tmp_path}/nvidia[0-9]*",))
    monkeypatch.setattr(allocator, "PLUGINS", ("no_such_plugin",))
    assert allocator.has_accelerator() is expected


def test_from_standard_input(start):
    for script in ("train.py", "eval.py"):
        text = (training_runs.REPOSITORY / script).read_text()
        finished = start("-", "--import", "{spy}", stdin=text)
        assert finished.stdout == "begun with None\n"
        assert finished.stderr.startswith("error: --config must be given")
        assert finished.returncode == 2


# Trains by train.py, evaluates by eval.py, in one process that is not theirs; and then
# without them.
SWEEP = """
import json, os, pathlib, runpy, sys
from tokenjax import config_files, experiment
print("the script has begun", flush=True)
workdir = pathlib.Path(sys.argv[1])
config, flags = "examples/my_config.py", ["--config.steps=8", "--config.figures=False"]
for script in ("train.py", "eval.py"):
    sys.argv = [script, f"--config={config}", f"--workdir={workdir / 'flags'}", *flags]
    runpy.run_path(script, run_name="__main__")
config = config_files.load_config(config)
config.update(steps=8, figures=False)
experiment.train(config, workdir / "python")
print("the script ends", os.environ.get("GLIBC_TUNABLES"))
"""


def test_a_script_of_a_users_own_runs_them(start, tmp_path):
    sweep = tmp_path / "sweep.py"
    sweep.write_text(SWEEP)
    finished = start(sweep, tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("the script has begun") == 1
    assert finished.stdout.endswith("the script ends None\n")
    assert finished.stdout.count("top-1") == 2
    by_flags, by_python = (
        json.loads((tmp_path / name / "evaluation.json").read_text())
        for name in ("flags", "python")
    )
    assert by_flags | {"step": 8} == by_python, "the same run, bit for bit"


# What IPython's %run does: the script becomes __main__ in the kernel's process.
KERNEL = """
import os, sys, types
x = 1

def run(path, *arguments):
    kept = sys.modules["__main__"], sys.argv
    module = types.ModuleType("__main__")
    module.__file__ = os.path.abspath(path)
    sys.modules["__main__"], sys.argv = module, [path, *arguments]
    try:
        exec(compile(open(path).read(), module.__file__, "exec"), module.__dict__)
    except SystemExit as exit:
        print("status", exit.code)
    finally:
        sys.modules["__main__"], sys.argv = kept

run("train.py", "--import", sys.argv[2])
run("bench.py", "--model", "vit", "--peer", "nobody")
run("train.py", "--help")
print("x is", x)
"""


def test_run_in_a_kernel(start, tmp_path):
    kernel = tmp_path / "kernel_launcher.py"
    kernel.write_text(KERNEL)
    finished = start(kernel, "-f", "{spy}")
    assert finished.stdout.startswith("begun with None\nstatus 2\nstatus 2\nTrain the")
    assert finished.stdout.endswith("x is 1\n")


def test_run_in_ipython(start, tmp_path):
    pytest.importorskip("IPython")
    notebook = tmp_path / "notebook.ipy"
    notebook.write_text(
        f"x = 1\n%run train.py --import {tmp_path / 'spy.py'}\nprint('x is', x)\n"
    )
    home = str(tmp_path / "ipython")
    finished = start("-m", "IPython", "--no-banner", notebook, IPYTHONDIR=home)
    assert "begun with None\n" in finished.stdout
    assert finished.stdout.endswith("x is 1\n")


def test_arguments_that_only_look_like_ours(monkeypatch):
    """The same arguments, but __main__ is a file of the user's."""
    path = pathlib.Path(__file__)
    main = type(sys)("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", [str(path), "--config", "x"])
    monkeypatch.setattr(sys, "orig_argv", ["python", str(path), "--config", "x"])
    main.__file__ = str(path)
    main.__spec__ = None
    assert not allocator.is_our_program()
    ours = training_runs.REPOSITORY / "train.py"
    main.__file__ = str(ours)
    assert not allocator.is_our_program()  # __main__ was replaced
    monkeypatch.setattr(sys, "argv", [str(ours), "--config", "x"])
    monkeypatch.setattr(sys, "orig_argv", ["python", str(ours), "--config", "x"])
    assert allocator.is_our_program()
    for options in (["-m", "pdb"], ["ipython"]):
        started = ["python", *options, str(ours), "--config", "x"]
        monkeypatch.setattr(sys, "orig_argv", started)
        assert not allocator.is_our_program(), options


# Large blocks, of the main thread and of another, are freed and asked for again.
FAULTS = """
import resource, threading
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

counts = []
def again():
    np.ones(64 << 17)
    before = faults()
    np.ones(64 << 17)
    counts.append(faults() - before)
again()
thread = threading.Thread(target=again)
thread.start()
thread.join()
print(counts)
"""


@LINUX
def test_freed_memory_is_kept(start):
    finished = start("-c", FAULTS, GLIBC_TUNABLES=allocator.ALLOCATOR)
    main_thread, other_thread = json.loads(finished.stdout)
    assert max(main_thread, other_thread) < 16, "64 MiB are 32 to 16,384 pages"


def test_a_locale_that_cannot_name_files(start, tmp_path):
    """Python asks the locale; C++ libraries take UTF-8. Accents would fail late."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    place = tmp_path / "süt"
    size = ["--identities", 4, "--height", 32, "--width", 16, "--images_per_camera", 1]
    arguments = ["-m", "tokenjax", "data", "--output", place, *size]
    finished = start(*arguments, encoding="utf-8", **locale)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"{place}: 4 identities")
    assert finished.stderr.count("started again with") == 1
    assert (place / "synthetic_reid.json").exists()


def test_without_a_home_there_is_no_cache(monkeypatch):
    import jax

    kept = jax.config.jax_compilation_cache_dir
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 12345678)
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        command_line.enable_compilation_cache()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", kept)
