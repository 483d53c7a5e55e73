"""The card: what it holds comes back, and what is not ours is refused."""

import dataclasses
import json

import pytest

from tokenjax import card as cards
from tokenjax import storage
from tokenjax.card import Card, Images
from tokenjax.errors import CheckpointError

CARD = Card(
    task="classification",
    model={"name": "vit", "depth": 3, "size": [2, 3], "rate": 0.1, "kind": None},
    classes=("katze", "hünd", "日本"),
    images=Images(32, 24, 3, mean=(0.1, 1 / 3, 0.5), std=(1.0, 1.0, 1.0), crop=0.9),
    data={"source": "x", "name": "y", "splits": {"test": {"examples": 2}}},
    config={"seed": 1, "model": {"name": "vit"}},
    imports=("my_model",),
    versions={"tokenjax": "0.2.0"},
)


def test_it_comes_back_whole(tmp_path):
    cards.write(tmp_path, CARD)
    assert cards.read(tmp_path) == CARD


def test_what_is_not_told_comes_back_so(tmp_path):
    cards.write(tmp_path, Card(model={"name": "vit"}))
    read = cards.read(tmp_path)
    assert read is not None
    assert (read.classes, read.images.mean, read.config) == (None, None, None)


def test_a_directory_of_before_cards_has_none(tmp_path):
    assert cards.read(tmp_path) is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value["model"].update(depth=4),
        lambda value: value["classes"].reverse(),
        lambda value: value["images"].update(mean=[0.2, 0.2, 0.2]),
        lambda value: value.update(extra=1),
        lambda value: value.pop("digest"),
    ],
)
def test_an_edited_one_is_refused(tmp_path, edit):
    value = CARD.to_json()
    edit(value)
    storage.write_json(tmp_path / cards.FILE, value)
    with pytest.raises(CheckpointError, match="was edited or damaged since"):
        cards.read(tmp_path)


def test_one_of_a_newer_version_is_refused(tmp_path):
    value = {**CARD.to_json(), "format": cards.FORMAT + 1}
    storage.write_json(tmp_path / cards.FILE, value)
    with pytest.raises(CheckpointError, match="a newer tokenjax made it"):
        cards.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": "x"}'])
def test_what_is_no_card_is_refused(tmp_path, text):
    (tmp_path / cards.FILE).write_text(text)
    with pytest.raises(CheckpointError):
        cards.read(tmp_path)


def test_its_file_is_json_that_others_read(tmp_path):
    cards.write(tmp_path, CARD)
    value = json.loads((tmp_path / cards.FILE).read_text())
    plain = dataclasses.asdict(CARD)
    assert value["classes"] == list(plain["classes"])
    assert value["images"]["mean"] == list(CARD.images.mean or ())
