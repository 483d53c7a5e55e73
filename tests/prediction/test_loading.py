"""From a directory to a predictor: what is there, and a sentence for what is not."""

import json
import shutil
import sys

import numpy as np
import pytest
from helpers.loadable import CLASSES, IMAGES, save_weights
from helpers.small_models import small, small_demo

import tokenjax
from tokenjax import card as cards
from tokenjax.card import Card, Images
from tokenjax.errors import UserError


@pytest.fixture
def weights(tmp_path):
    return save_weights(tmp_path / "weights", "vit", small("vit"), classes=CLASSES)


def edit(directory, **changes):
    """Write the card anew, as a program of ours would."""
    card = cards.read(directory)
    cards.write(directory, Card(**{**vars(card), **changes}))


def refused(directory, *parts, **arguments):
    with pytest.raises(UserError) as caught:
        tokenjax.load(directory, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    for part in (*parts, str(directory)):
        assert part in message
    return message


def test_what_there_is(weights):
    predictor = tokenjax.load(weights)
    assert predictor.classes == CLASSES
    assert predictor.batch_size == 64
    assert predictor.preparation.shape == (16, 16, 3)  # the network's own
    assert predictor.card.images == IMAGES
    assert predictor.model == small("vit")


def test_what_a_run_says_of_itself(workdir):
    predictor = tokenjax.load(workdir)
    assert predictor.classes == tuple("0123456789")
    assert predictor.batch_size == predictor.card.config["batch_size"]
    assert predictor.preparation.reading.interpolation == "bilinear"
    assert tokenjax.load(str(workdir), "last", 4).batch_size == 4


def saved_steps(workdir):
    names = [each.name for each in (workdir / "checkpoints").iterdir()]
    return sorted(int(name) for name in names if name.isdecimal())


def test_which_checkpoint(workdir):
    """The one that the run is evaluated with, unless another is asked for."""
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
    found = {
        which: tokenjax.load(workdir, which).predict(images).logits
        for which in ("best", "last", None)
    }
    assert len(saved_steps(workdir)) > 1
    assert not np.array_equal(found["best"], found["last"])
    evaluated = json.loads((workdir / "evaluation.json").read_text())
    np.testing.assert_array_equal(found[None], found[evaluated["checkpoint"]])


def test_nothing_to_load(tmp_path):
    refused(tmp_path / "gone", "there is no directory")
    (tmp_path / "model.pth").write_bytes(b"weights")
    refused(tmp_path / "model.pth", "is a file", "tokenjax convert")
    refused(tmp_path, "holds no run and no converted checkpoint")


def test_a_folder_of_runs_or_a_part_of_one(workdir):
    assert workdir.name in refused(workdir.parent, "runs in it")
    step = workdir / "checkpoints" / str(saved_steps(workdir)[-1])
    for part in (step.parent, step):
        assert f"give its directory, {workdir}" in refused(part, "part of a run")


def test_a_run_that_has_saved_nothing(workdir, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(workdir / "card.json", begun)
    refused(begun, "has saved no checkpoint yet")
    (begun / "checkpoints").mkdir()
    refused(begun, "holds no checkpoint")


def test_a_card_that_was_edited(weights):
    path = weights / "card.json"
    path.write_text(path.read_text().replace('"cat"', '"cow"'))
    refused(weights, "card.json was edited or damaged")
    path.write_text(path.read_text()[:-40])
    refused(weights, "card.json cannot be read")


def test_a_run_whose_card_was_edited(workdir, tmp_path):
    copied = shutil.copytree(workdir, tmp_path / "copied")
    path = copied / "card.json"
    path.write_text(path.read_text().replace('"num_heads": 2', '"num_heads": 4'))
    refused(copied, "card.json was edited or damaged")


def test_a_newer_card(weights):
    path = weights / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    refused(weights, "format 99", "a newer tokenjax made it")


def test_weights_older_than_cards(weights, workdir, tmp_path):
    (weights / "card.json").unlink()
    refused(weights, "has no card", "convert it once more")


def test_damaged_weights(weights):
    path = max((weights / "variables").rglob("*"), key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused(weights, "is damaged")


def test_weights_of_another_network(weights):
    edit(weights, model={**cards.read(weights).model, "depth": 3})
    with pytest.raises(UserError, match="does not fit the model"):
        tokenjax.load(weights)


def test_an_unknown_network(weights):
    """Nothing is imported because a card names it."""
    strange = {"name": "strange_vit", "depth": 2}
    edit(weights, model=strange, imports=("antigravity",))
    with pytest.raises(UserError, match="--import antigravity, which is needed here"):
        tokenjax.load(weights)
    assert "antigravity" not in sys.modules
    edit(weights, model=strange, imports=())
    with pytest.raises(UserError, match="unknown model 'strange_vit'"):
        tokenjax.load(weights)


def test_statistics_that_no_card_tells(weights):
    edit(weights, images=Images())
    refused(weights, "does not tell mean and std", "--mean and --std, to convert or")
    with pytest.raises(UserError, match="go together"):
        tokenjax.load(weights, mean=[0.5])
    with pytest.raises(UserError, match="2 numbers, the images have 3 channels"):
        tokenjax.load(weights, mean=[0.5, 0.5], std=[0.5])
    given = tokenjax.load(weights, mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.3])
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    edit(weights, images=IMAGES)
    told = tokenjax.load(weights)
    np.testing.assert_array_equal(
        given.predict(images).logits, told.predict(images).logits
    )
    refused(weights, "give no others", mean=[0.5], std=[0.5])


@pytest.mark.parametrize(
    ("told", "part"),
    [
        ({"mean": (0.5, 0.5)}, "a mean of (0.5, 0.5), where a number for each of 3"),
        ({"std": ("wide",) * 3}, "a std of ('wide', 'wide', 'wide')"),
        ({"height": 10**9}, "a size of images of 1000000000"),
        ({"width": "wide"}, "a size of images of 'wide'"),
        ({"crop": 0}, "a crop of 0"),
        ({"interpolation": "magic"}, "an interpolation 'magic'"),
    ],
)
def test_a_strangers_card_that_tells_nonsense(weights, told, part):
    edit(weights, images=Images(**{**vars(IMAGES), **told}))
    with pytest.raises(UserError) as caught:
        tokenjax.load(weights)
    assert part in str(caught.value)


def test_classes_without_names(weights, capsys):
    edit(weights, classes=None)
    assert tokenjax.load(weights).classes == tuple("0123456")
    assert "names no classes: they are told by number" in capsys.readouterr().err
    edit(weights, classes=("a", "b"))
    with pytest.raises(UserError, match="names 2 classes, the network scores 7"):
        tokenjax.load(weights)


def test_what_is_asked_for(weights):
    with pytest.raises(UserError, match="unknown checkpoint 'lsat', did you mean"):
        tokenjax.load(weights, which="lsat")
    with pytest.raises(UserError, match="batch_size must be 1 or more, got 0"):
        tokenjax.load(weights, batch_size=0)


def test_networks_that_score_no_classes(tmp_path):
    demo = small_demo()
    images = Images(mean=(0.5,) * 3, std=(0.5,) * 3, modalities=("rgb", "nir", "tir"))
    directory = save_weights(tmp_path / "demo", "demo", demo, images=images)
    predictor = tokenjax.load(directory)
    assert predictor.classes == ()
    with pytest.raises(UserError, match="demo finds a person or vehicle again"):
        predictor.predict(np.zeros((16, 8, 3), np.uint8))


def test_importing_the_package_alone_imports_little():
    assert "load" not in vars(tokenjax)
    assert not hasattr(tokenjax, "loda")
