"""What the documents name is there: links, files, names, commands, flags, settings."""

import fnmatch
import functools
import importlib
import pathlib
import re
import tomllib

import pytest
from absl import flags
from helpers import documents
from helpers.training_runs import REPOSITORY
from ml_collections import ConfigDict

import tokenjax
from tokenjax import (
    command_files,
    command_line,
    commands,
    configuration,
    data,
    models,
    plugins,
)
from tokenjax.models.reduction.methods import METHODS
from tokenjax.plots import looks
from tokenjax.training.settings import Settings, list_arguments
from tokenjax.training.settings.choices import OPTIMIZERS, SCHEDULES, TASKS

HISTORY = "CHANGELOG.md"  # names what is no more
ORIGINALS = "tests/golden/README.md"  # names files of the recorded programs
PRESENT = [name for name in documents.DOCUMENTS if name not in (HISTORY, ORIGINALS)]
DOCSTRINGS = [  # commands stand there too
    path.relative_to(REPOSITORY).as_posix()
    for folder in ("configs", "tokenjax/commands")
    for path in sorted(REPOSITORY.glob(f"{folder}/*.py"))
]
RUN_MODULE = re.compile(r'run_module\("tokenjax\.commands\.(\w+)"|_line\.run\("(\w+)"')


@pytest.fixture
def registries():
    """Puts back what programs of a document register."""
    registries = (OPTIMIZERS, SCHEDULES, TASKS, METHODS, looks._FIGURES)
    before = [(each, dict(each._things)) for each in registries]
    yield
    for registry, things in before:
        registry._things = things


def text_of(name):
    text = documents.read(name)
    if name.endswith(".md"):
        return text
    docstring = re.search(r'^"""(.*?)"""', text, re.DOTALL)[1].replace("\\\\\n", "\\\n")
    lines = re.sub(r"^(?=python )", "    ", docstring, flags=re.MULTILINE)
    return f"{lines}\n"


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_links(document):
    for target in documents.links(documents.read(document)):
        path = documents.path_of(document, target)
        assert path.exists(), target
        anchor = target.partition("#")[2]
        if anchor:
            assert anchor in documents.anchors(path.read_text()), target


@pytest.mark.parametrize("document", PRESENT)
def test_files(document):
    for path in documents.files(documents.read(document)):
        bases = (REPOSITORY, REPOSITORY / "tokenjax", REPOSITORY / "tests")
        assert any(list(base.glob(path)) for base in bases), path


@pytest.mark.parametrize("document", PRESENT)
def test_names(document):
    for name in documents.names(documents.read(document)):
        assert resolves(name), name


@pytest.mark.parametrize("document", PRESENT)
def test_imports(document):
    for line in documents.imports(documents.read(document)):
        names = {}
        exec(line, names)
        assert set(names) > {"__builtins__"}, line


def test_programs(registries):
    """They run, one after the other; the names that they register can be chosen."""
    text = documents.read("docs/extend.md")
    programs = documents.programs(text)
    assert len(programs) > 4
    names = {}
    for program in programs:
        exec(program, names)
    chosen = dict(re.findall(r"`--config\.([\w.]+)=(\w+)`", text))
    assert {"schedule.name", "optimizer.name", "task"} <= set(chosen)
    for key in ("schedule.name", "optimizer.name", "task"):
        list_arguments(Settings)[key].check(chosen[key], key)
    Settings.from_config(names["get_config"]())


def test_one_version():
    """The package, the distribution and the newest entry of the changelog agree."""
    project = tomllib.loads(documents.read("pyproject.toml"))["project"]
    newest = re.search(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", documents.read(HISTORY), re.M)
    assert project["version"] == tokenjax.__version__ == newest[1]


def test_one_ruff():
    """What looks at commits is the ruff that `make lint` runs."""
    hook = re.search(r"rev: v(\S+)", documents.read(".pre-commit-config.yaml"))[1]
    assert f'"ruff=={hook}"' in documents.read("pyproject.toml")


@pytest.mark.parametrize("name", [*PRESENT, *DOCSTRINGS])
def test_commands(name):
    for command in documents.commands(text_of(name)):
        called = command.name or command_of(command.module)
        assert called in commands.names(), command.text
        if any(flag.startswith("--") for flag in command.flags):
            check_flags(called, command)


@pytest.mark.parametrize("name", [*PRESENT, *DOCSTRINGS])
def test_settings(name):
    known = all_keys()
    for key in documents.keys(text_of(name)):
        assert fnmatch.filter(known, key), key


def test_what_is_looked_for_is_found():
    """The patterns find what they are for: a page without any would pass."""
    text = text_of("docs/train.md")
    assert len(documents.commands(text)) > 15
    assert sum(command.is_whole for command in documents.commands(text)) > 12
    assert {"configs/vdpa.py", "configs/study_*.py"} <= documents.files(text)
    assert "tokenjax.ops.dispatch" in documents.names(text)
    assert {"model.depth", "routing.anneal_*", "figures"} <= documents.keys(text)
    assert documents.imports(text)
    assert len(documents.links(text)) > 10
    assert len(documents.commands(text_of("configs/routing.py"))) > 4


def resolves(name):
    """Return whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return (
            functools.reduce(
                lambda thing, part: getattr(thing, part, None), parts[length:], found
            )
            is not None
        )
    return False


def command_of(module):
    """Return the command that `python -m MODULE` runs."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    path = pathlib.Path(spec.origin)
    if path.name == "__init__.py":
        path = path.with_name("__main__.py")
    match = RUN_MODULE.search(path.read_text())
    assert match, f"{module} is no command"
    return match[1] or match[2]


def check_flags(name, command):
    """Parse a command as its program does, or look for its flags alone."""
    values = flags.FlagValues()
    argv = [name, *config_of_run(name, command), *command.flags]
    if not command.is_whole:
        argv = [name, *(flag for flag in command.flags if is_own(flag))]
    module = commands.load(name)
    module.define_flags(argv, values)
    plugins.define_flag(values)
    if not command.is_whole:
        given = (flag.partition("=")[0].removeprefix("--") for flag in argv[1:])
        assert all(flag in values for flag in given), command.text
        return
    takes_more = bool(command_files.arguments(module))
    values.set_gnu_getopt(takes_more)
    rest = command_line.parse(values, argv)
    assert takes_more or len(rest) == 1, command.text
    config = values["config"].value if "config" in values else None
    if isinstance(config, ConfigDict) and "datasets" not in config:
        Settings.from_config(config)


def config_of_run(name, command):
    """Return the --config of a run that the command names by its directory.

    runs/vdpa-default is of configs/vdpa.py; runs/mine is of any, here of one that has
    most arguments.
    """
    given = dict(flag.partition("=")[::2] for flag in command.flags)
    words = dict(zip(command.flags, command.flags[1:], strict=False))
    runs = [(given | words).get(flag) for flag in ("--checkpoint", "--workdir")]
    run = next((run for run in runs if run and run.startswith("runs/")), None)
    if name != "eval" or run is None or "--config" in {*given, *words}:
        return []
    file = f"configs/{run.removeprefix('runs/').partition('-')[0]}.py"
    known = (documents.REPOSITORY / file).is_file()
    return [f"--config={file if known else 'configs/dynamic_vit.py'}"]


def is_own(flag):
    return flag.startswith("--") and not flag.startswith("--config.")


@functools.cache
def all_keys():
    """Return the keys of the settings, and of any model and source."""
    found = set(list_arguments(Settings)) | {"model.name", "data.source"}
    for section, names, arguments in (
        ("model", models.names(), models.arguments),
        ("data", data.names(), data.arguments),
    ):
        found |= {f"{section}.{key}" for name in names for key in arguments(name)}
    return found | set(configuration.SECTIONS)
