"""A workdir holds one run: what may have changed when it goes on."""

import dataclasses
import os
import stat

import pytest

from tokenjax import storage
from tokenjax.configuration import completed
from tokenjax.errors import UserError
from tokenjax.training import workdir
from tokenjax.training.settings import (
    Distillation,
    Imbalance,
    Optimizer,
    Reid,
    Schedule,
    Settings,
)
from tokenjax.training.workdir import claim_workdir, compare_workdir, held


def configuration(**changes):
    return dataclasses.asdict(Settings(**changes))


def test_a_directory_without_a_run(tmp_path):
    assert compare_workdir(tmp_path / "new", configuration()) is None
    assert not (tmp_path / "new").exists()


def test_a_run_of_an_older_version_goes_on(tmp_path):
    old = configuration()
    del old["routing"]  # a section that has come since
    claim_workdir(tmp_path, old)
    earlier = compare_workdir(tmp_path, configuration())
    assert earlier["batch_size"] == 64
    assert "routing" not in earlier
    claim_workdir(tmp_path, configuration())
    assert "routing" in storage.read_json(tmp_path / "config.json")


def test_a_sources_new_argument_is_no_other_run(tmp_path):
    data = {"source": "cluttered", "canvas": 32}
    claim_workdir(tmp_path, configuration(data=data))
    compare_workdir(tmp_path, configuration(data=data | {"fragments": 8}), completed)
    other = configuration(data=data | {"fragments": 7})
    with pytest.raises(UserError, match=r"data\.fragments 8 -> 7"):
        compare_workdir(tmp_path, other, completed)


def test_a_models_new_argument_is_no_other_run(tmp_path):
    model = {"name": "vit", "depth": 3}
    claim_workdir(tmp_path, configuration(model=model))
    earlier = compare_workdir(tmp_path, configuration(model=model), completed)
    assert earlier["model"]["remat"] is False
    changed = configuration(model=model | {"remat": True})
    with pytest.raises(UserError, match=r"model\.remat False -> True"):
        compare_workdir(tmp_path, changed, completed)


def test_where_the_data_lies_and_how_it_is_read_may_change(tmp_path):
    data = {"source": "image_folder", "directory": "x", "num_threads": 2}
    old = completed(configuration(data=data))
    claim_workdir(tmp_path, old)
    free = {
        "num_threads": 4,
        "cache_bytes": 0,
        "directory": "/elsewhere/x/",
        "max_pixels": 10**6,
        "outside_links": True,
        "broken": "skip",
    }
    compare_workdir(tmp_path, configuration(data=data | free), completed)
    other = configuration(data=data | free | {"image_size": 64})
    with pytest.raises(UserError, match=r"data\.image_size 224 -> 64"):
        compare_workdir(tmp_path, other, completed)


@pytest.mark.parametrize("source", ["fashion_mnist", "cifar10", "tfds", "rgbnt201"])
def test_every_source_may_lie_elsewhere(tmp_path, source):
    named = {"source": source, **({"name": "mnist"} if source == "tfds" else {})}
    claim_workdir(tmp_path, configuration(data=named))
    place = "data_dir" if source in ("cifar10", "tfds") else "directory"
    moved = configuration(data=named | {place: "/elsewhere", "split_seed": 3})
    compare_workdir(tmp_path, moved, completed)


def test_the_free_keys_of_data_are_told():
    data = {"source": "image_folder", "directory": "x", "split_seed": 0}
    old = completed(configuration(data=data))
    new = completed(configuration(data=data | {"split_seed": 1, "directory": "y"}))
    assert workdir.changed_free_data_keys(old, new) == [
        "data.directory 'x' -> 'y'",
        "data.split_seed 0 -> 1",
    ]


def test_another_run_is_refused(tmp_path):
    claim_workdir(tmp_path, configuration())
    compare_workdir(tmp_path, configuration(log_every_steps=3))  # alters no parameter
    with pytest.raises(UserError, match="seed 0 -> 1"):
        compare_workdir(tmp_path, configuration(seed=1))
    changed = configuration()
    changed["routing"]["start_ratio"] = 0.5
    with pytest.raises(UserError, match=r"routing.start_ratio 1.0 -> 0.5"):
        compare_workdir(tmp_path, changed)


@pytest.mark.parametrize(
    "free",
    [
        {"epochs": 300.0},  # the run's length is looked at where its step is known
        {"steps": 7},
        {"init_from": "elsewhere"},
        {"distillation": Distillation(teacher="x", teacher_epochs=3.0)},
        {"reid": Reid(backbone_from="x", rerank=True)},
        {"imbalance": Imbalance(seed=1, ratio=0.5, many_shot=7)},
        {"schedule": Schedule(milestones=(1.0,), step_epochs=2.0, factor=0.5)},
        {"optimizer": Optimizer(momentum=0.5)},
    ],
)
def test_what_cannot_matter_may_change(tmp_path, free):
    claim_workdir(tmp_path, configuration())
    compare_workdir(tmp_path, configuration(**free))


@pytest.mark.parametrize(
    ("base", "changed", "sentence"),
    [
        (
            {"imbalance": Imbalance("linear")},
            {"imbalance": Imbalance("linear", seed=1)},
            "imbalance.seed 42 -> 1",
        ),
        (
            {"schedule": Schedule("multistep")},
            {"schedule": Schedule("multistep", milestones=(1.0,))},
            "schedule.milestones",
        ),
        (
            {"optimizer": Optimizer("momentum")},
            {"optimizer": Optimizer("momentum", momentum=0.5)},
            "optimizer.momentum",
        ),
        (
            {"schedule": Schedule("cosine")},
            {"schedule": Schedule("constant", factor=0.5)},
            "schedule.name 'cosine' -> 'constant'",
        ),
        ({}, {"optimizer": Optimizer(beta2=0.9)}, "optimizer.beta2"),
    ],
)
def test_what_is_read_may_not(tmp_path, base, changed, sentence):
    claim_workdir(tmp_path, configuration(**base))
    with pytest.raises(UserError, match=sentence):
        compare_workdir(tmp_path, configuration(**changed))


def test_a_schedule_of_ones_own_may_read_everything(tmp_path):
    claim_workdir(tmp_path, configuration(schedule=Schedule("mine")))
    other = configuration(schedule=Schedule("mine", factor=0.5))
    with pytest.raises(UserError, match=r"schedule\.factor"):
        compare_workdir(tmp_path, other)


def test_a_start_that_got_nowhere_leaves_nothing(tmp_path):
    place = tmp_path / "runs" / "mine"

    def fail():
        with held(place):
            assert (place / "run.lock").exists()
            (place / "checkpoints").mkdir(exist_ok=True)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with held(place):
        claim_workdir(place, configuration())
    assert [path.name for path in place.iterdir()] == ["config.json"]
    with pytest.raises(KeyError):
        fail()
    left = sorted(path.name for path in place.iterdir())
    assert left == ["checkpoints", "config.json"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="cannot be written"), held(tmp_path / "run"):
        pass
