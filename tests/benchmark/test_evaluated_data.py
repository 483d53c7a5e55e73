"""Which evaluations are of the same images, by what is beside them."""

import json

import pytest

from tokenjax import card as cards
from tokenjax.benchmark import evaluated_data
from tokenjax.benchmark.evaluated_data import read_evaluated
from tokenjax.card import Card
from tokenjax.errors import CheckpointError

PER_CLASS = [{"name": "cat", "support": 3}, {"name": "dog", "support": 4}]
EVALUATION = {"split": "test", "top1": 0.5, "examples": 7, "per_class": PER_CLASS}
DATA = {"source": "image_folder", "directory": "pictures", "split_seed": 0}


def make_run(directory, evaluation=None, data=None, digest=None):
    """Write what a run leaves of its data; return what is read of it."""
    directory.mkdir(parents=True)
    evaluation = EVALUATION | (evaluation or {})
    (directory / "evaluation.json").write_text(json.dumps(evaluation))
    config = {"model": {}, "data": DATA | (data or {})}
    (directory / "config.json").write_text(json.dumps(config))
    if digest:
        splits = {"test": {"examples": 7, "digest": digest}}
        own = {"source": "image_folder", "name": "pets", "splits": splits}
        cards.write(directory, Card(model={"name": "vit"}, data=own))
    return read_evaluated(directory / "evaluation.json", evaluation)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"data": {"cache_bytes": 1, "num_threads": 3}}, True),
        ({"data": {"image_size": 64, "mean": (0.5,)}}, True),
        ({"data": {"outside_links": None}}, True),
        ({"data": {"directory": "./pictures"}}, True),
        ({"data": {"directory": "elsewhere"}}, False),
        ({"data": {"split_seed": 1}}, False),
        ({"data": {"source": "digits"}}, False),
        ({"evaluation": {"split": "validation"}}, False),
        ({"evaluation": {"examples": 8}}, False),
        ({"evaluation": {"per_class": PER_CLASS[::-1]}}, False),
        ({"evaluation": {"of": "other"}}, False),
    ],
)
def test_runs_without_a_card(tmp_path, change, same):
    one, other = make_run(tmp_path / "a"), make_run(tmp_path / "b", **change)
    assert one.same_as(other) is other.same_as(one) is same


def test_a_card_decides(tmp_path):
    one = make_run(tmp_path / "a", digest="1234")
    moved = make_run(tmp_path / "b", data={"directory": "elsewhere"}, digest="1234")
    changed = make_run(tmp_path / "c", digest="5678")
    assert one.same_as(moved)
    assert not one.same_as(changed)
    assert one.same_as(make_run(tmp_path / "d"))  # of before cards
    assert not one.same_as(make_run(tmp_path / "e", data={"split_seed": 1}))
    assert one.label == changed.label == "pets, test: 7 images"


def test_other_data_than_the_runs_own(tmp_path):
    own = make_run(tmp_path / "a", digest="1234")
    other = make_run(tmp_path / "b", {"of": "wild"}, digest="1234")
    assert not own.same_as(other)
    assert other.label == "wild, test: 7 images"


def test_an_evaluation_by_itself(tmp_path):
    first, second = (
        read_evaluated(tmp_path / "evaluation.json", each)
        for each in ({"split": "test"}, EVALUATION)
    )
    assert first.same_as(second)
    assert first.label == "unknown data, test"
    assert not first.same_as(read_evaluated(tmp_path / "x", {"split": "train"}))


def test_a_damaged_configuration(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        read_evaluated(tmp_path / "evaluation.json", EVALUATION)


def test_groups_and_their_labels(tmp_path):
    seen = {
        "a": make_run(tmp_path / "a", digest="1"),
        "b": make_run(tmp_path / "b", digest="2"),
        "c": make_run(tmp_path / "c", digest="1"),
        "d": make_run(tmp_path / "d", {"examples": 9}, {"directory": "e"}),
    }
    groups = evaluated_data.group(seen)
    assert groups == [["a", "c"], ["b"], ["d"]]
    assert evaluated_data.labels(groups, seen) == [
        "pets, test: 7 images (1)",
        "pets, test: 7 images (2)",
        "image_folder, test: 9 images",
    ]
