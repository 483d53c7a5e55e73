"""A workdir holds one run: what may have changed when it goes on."""

import dataclasses

import pytest

from tokenjax import storage
from tokenjax.errors import UserError
from tokenjax.training.settings import Settings
from tokenjax.training.workdir import open_workdir


def configuration(**changes):
    return dataclasses.asdict(Settings(**changes))


def test_a_run_of_an_older_version_goes_on(tmp_path):
    old = configuration()
    del old["routing"]  # a section that has come since
    storage.write_json(tmp_path / "config.json", old)
    open_workdir(tmp_path, configuration())
    assert "routing" in storage.read_json(tmp_path / "config.json")


def test_a_sources_new_argument_is_no_other_run(tmp_path):
    data = {"source": "image_folder", "directory": "x"}
    storage.write_json(tmp_path / "config.json", configuration(data=data))
    open_workdir(tmp_path, configuration(data=data | {"broken": "refuse"}))
    with pytest.raises(UserError, match=r"data\.broken 'refuse' -> 'skip'"):
        open_workdir(tmp_path, configuration(data=data | {"broken": "skip"}))


def test_another_run_is_refused(tmp_path):
    open_workdir(tmp_path, configuration())
    open_workdir(tmp_path, configuration(log_every_steps=3))  # alters no parameter
    with pytest.raises(UserError, match="seed 0 -> 1"):
        open_workdir(tmp_path, configuration(seed=1))
    changed = configuration()
    changed["routing"]["start_ratio"] = 0.5
    with pytest.raises(UserError, match=r"routing.start_ratio 1.0 -> 0.5"):
        open_workdir(tmp_path, changed)
