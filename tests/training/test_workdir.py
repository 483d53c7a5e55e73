"""A workdir holds one run: what may have changed when it goes on."""

import dataclasses

import pytest

from tokenjax import storage
from tokenjax.configuration import completed
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
    open_workdir(tmp_path, configuration(data=data | {"broken": "refuse"}), completed)
    with pytest.raises(UserError, match=r"data\.broken 'refuse' -> 'skip'"):
        open_workdir(tmp_path, configuration(data=data | {"broken": "skip"}), completed)


def test_a_models_new_argument_is_no_other_run(tmp_path):
    model = {"name": "vit", "depth": 3}
    storage.write_json(tmp_path / "config.json", configuration(model=model))
    whole = completed(configuration(model=model))
    open_workdir(tmp_path, whole, completed)
    assert storage.read_json(tmp_path / "config.json")["model"]["remat"] is False
    changed = configuration(model=model | {"remat": True})
    with pytest.raises(UserError, match=r"model\.remat False -> True"):
        open_workdir(tmp_path, changed, completed)


def test_threads_and_memory_of_reading_may_change(tmp_path):
    data = {"source": "image_folder", "directory": "x", "num_threads": 2}
    open_workdir(tmp_path, configuration(data=data), completed)
    free = data | {"num_threads": 4, "cache_bytes": 0}
    open_workdir(tmp_path, configuration(data=free), completed)
    with pytest.raises(UserError, match=r"data\.image_size 224 -> 64"):
        open_workdir(tmp_path, configuration(data=free | {"image_size": 64}), completed)


def test_another_run_is_refused(tmp_path):
    open_workdir(tmp_path, configuration())
    open_workdir(tmp_path, configuration(log_every_steps=3))  # alters no parameter
    with pytest.raises(UserError, match="seed 0 -> 1"):
        open_workdir(tmp_path, configuration(seed=1))
    changed = configuration()
    changed["routing"]["start_ratio"] = 0.5
    with pytest.raises(UserError, match=r"routing.start_ratio 1.0 -> 0.5"):
        open_workdir(tmp_path, changed)
