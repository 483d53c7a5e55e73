"""Every command: found by its file, with help of its own, by all of its names."""

import pathlib
import runpy
import sys

import pytest
from helpers.entry_points import run_in_process
from helpers.training_runs import REPOSITORY

from tokenjax import __main__ as program
from tokenjax import commands

# What was there before the dispatcher, and stays.
ALIASES = {
    "tokenjax.benchmark.analyze": "analyze",
    "tokenjax.benchmark.prediction": "prediction_cost",
    "tokenjax.benchmark.retrieval": "retrieval_cost",
    "tokenjax.benchmark.routing": "routing_cost",
    "tokenjax.benchmark.training_overhead": "training_overhead",
    "tokenjax.convert": "convert",
    "tokenjax.data.people.synthetic_reid": "data",
    "tokenjax.reliability.chaos": "chaos",
    "tokenjax.reliability.fuzz": "fuzz",
    "tokenjax.study": "study",
    "tokenjax.training.ablate": "ablate",
}
FLAGS = {  # some that each must show
    "train": ["--config", "--workdir", "--import"],
    "eval": ["--config", "--checkpoint", "--split", "--[no]eval_all", "--import"],
    "bench": ["--models", "--batch_size", "--[no]train", "--peer", "--import"],
    "analyze": ["--workdirs", "--evaluations", "--image_size", "--import"],
    "predict": ["--output", "--figure", "--topk", "--which", "--import"],
    "study": ["--config", "--jobs", "--run", "--import"],
    "convert": ["--model", "--checkpoint", "--output"],
    "data": ["--output", "--identities", "--train_fraction"],
}


def listed(text: str) -> list[str]:
    """The flags that a help text lists."""
    lines = text.partition("\nFlags:\n")[2].splitlines()
    return [line.split()[0] for line in lines if line.startswith("  --")]


@pytest.mark.parametrize("name", commands.names())
def test_help_is_the_commands_own(name):
    finished = run_in_process(name, "--help")
    assert finished.returncode == 0
    assert finished.stderr == ""
    first, blank, *rest = finished.stdout.splitlines()
    assert first.endswith(".")
    assert blank == ""
    examples = [line for line in rest if line.startswith(f"    tokenjax {name}")]
    assert 1 <= len(examples) <= 10
    assert rest[0] == examples[0]
    found = listed(finished.stdout)
    assert len(set(found)) == len(found) > 1
    assert found[-1] == "--import"
    assert set(FLAGS.get(name, [])) <= set(found)
    assert "--logtostderr" not in found
    assert max(map(len, finished.stdout.splitlines())) <= 88


def test_helpfull_lists_absls_too():
    text = run_in_process("train", "--helpfull").stdout
    assert set(FLAGS["train"]) <= set(listed(text))
    assert "logtostderr" in text


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_all_commands_are_listed(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["tokenjax", *arguments])
    program.main()
    lines = capsys.readouterr().out.splitlines()
    found = [line.split()[0] for line in lines if line.startswith("  ")]
    assert found == commands.names()
    assert {"train", "eval", "bench", *ALIASES.values()} <= set(found)
    assert all(len(line.split()) > 4 and len(line) <= 88 for line in lines if line)


def test_an_unknown_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tokenjax", "trian", "--config", "x"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: unknown command 'trian', did you mean 'train'?")
    assert all(name in line for name in commands.names())


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(("module", "name"), ALIASES.items())
def test_modules_that_are_commands(monkeypatch, capsys, module, name):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    runpy.run_module(module, run_name="__main__")
    assert capsys.readouterr().out == run_in_process(name, "--help").stdout


@pytest.mark.parametrize("name", ["train", "eval", "bench"])
def test_scripts_of_the_checkout(monkeypatch, capsys, name):
    script = REPOSITORY / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out == run_in_process(name, "--help").stdout
    assert len(script.read_text().splitlines()) < 60


def test_flags_that_are_none():
    for arguments, part in (
        (["train"], "--config must be given"),
        (["study"], "one of ours (dynamic_vit, "),
        (["convert", "--model", "vit"], "--checkpoint and --output must be given"),
        (["train", "--config", "vit", "--workdri", "x"], "did you mean --workdir?"),
        (["train", "--config=vit", "--frobnicate=1"], "unknown flag --frobnicate; see"),
        (["train", "--config", "vit", "extra"], "unexpected argument 'extra'"),
        (["bench", "--model", "vit", "--repeats", "many"], "repeats"),
        (["bench", "--model", "vit", "--peer", "tensorflow"], "torch_eager"),
        (["convert", "--model", "vit", "--output", "x"], "--checkpoint must be given"),
        (["data", "--output", "x", "--identities", "few"], "identities"),
        (["bench", "--train=no"], "--train=no: must be True or False, got 'no'"),
    ):
        finished = run_in_process(*arguments)
        assert finished.returncode == 2, arguments
        assert finished.stderr.startswith("error: ")
        assert finished.stderr.count("\n") == 1
        assert part in finished.stderr


def test_what_a_command_takes_besides_flags():
    """One that takes none refuses it; one that takes some says what."""
    assert "\nTakes: RUN PATH...\n" in run_in_process("predict", "--help").stdout
    assert "Takes:" not in run_in_process("eval", "--help").stdout
    finished = run_in_process("predict", "nowhere", "--topk", "2", ".", "--", "--odd")
    assert finished.returncode == 2
    assert "there is no file or folder --odd" in finished.stderr


def test_commands_share_no_flags():
    """Several run in one process, each with what was given to it alone."""
    first = run_in_process("data", "--output", "/dev/null/x", "--identities", "0")
    second = run_in_process("data", "--output", "/dev/null/x", "--cameras", "0")
    assert "identities" in first.stderr
    assert "cameras" in second.stderr
    assert "identities" not in second.stderr


@pytest.mark.parametrize("name", ["study", "ablate"])
def test_the_runs_of_a_study_import_what_it_imports(monkeypatch, tmp_path, name):
    """Each is a process of its own, told by the same flags."""
    calls = []
    monkeypatch.setattr("tokenjax.study.command.run_study", lambda *a: calls.append(a))
    (tmp_path / "nothing_in_it.py").write_text("")
    flags = ["--import", tmp_path / "nothing_in_it.py", "--config.epochs=1"]
    config = {"study": "study_vdpa:smoke", "ablate": "routing"}[name]
    flags = [
        "--config",
        config,
        "--jobs",
        3,
        *(flags if name == "ablate" else flags[:2]),
    ]
    finished = run_in_process(name, *flags)
    assert finished.returncode == 0, finished.stderr
    ((_, root, jobs, only, command),) = calls
    assert command == [sys.executable, "-m", "tokenjax", "study", *map(str, flags)]
    assert (jobs, only) == (3, "")
    assert str(root).startswith(f"runs/{config.partition(':')[0]}-")


def test_each_command_is_one_file():
    folder = pathlib.Path(commands.__file__).parent
    files = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    assert files == commands.names()
