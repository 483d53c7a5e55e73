"""What packages and citations say of tokenjax agrees: version, licence, Python."""

import re
import tomllib

import yaml
from helpers.training_runs import REPOSITORY

import tokenjax

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def read_yaml(name):
    return yaml.safe_load((REPOSITORY / name).read_text())


def test_citation_is_of_this_version():
    citation = read_yaml("CITATION.cff")
    assert citation["version"] == PROJECT["version"] == tokenjax.__version__
    assert citation["license"] == PROJECT["license"]["text"]
    heading = f"## {citation['version']} ({citation['date-released']})"
    assert heading in (REPOSITORY / "CHANGELOG.md").read_text().splitlines()


def test_environment_installs_what_the_project_needs():
    environment = read_yaml("environment.yml")
    python = next(each for each in environment["dependencies"] if "python" in each)
    assert python == f"python{PROJECT['requires-python']}"
    (pip,) = (
        each["pip"] for each in environment["dependencies"] if isinstance(each, dict)
    )
    extra = re.fullmatch(r"--editable \.\[(\w+)\]", pip[0])[1]
    assert extra in PROJECT["optional-dependencies"]
