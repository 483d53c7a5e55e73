"""A run is evaluated as it was trained, or what differs is named and refused."""

import json
import shutil

import numpy as np
import pytest
from helpers.entry_points import run_in_process
from PIL import Image

COLOURS = {"ant": (150, 60, 60), "cat": (60, 150, 60), "dog": (60, 60, 150)}
CONFIG = """
from ml_collections import ConfigDict
from tokenjax.training import default_config

def get_config():
    config = default_config()
    config.model = ConfigDict({"name": "vit", "patch_size": 8, "embed_dim": 16,
                               "depth": 1, "num_heads": 2, "mlp_ratio": 2.0})
    config.data = ConfigDict({"source": "image_folder", "image_size": 16})
    config.epochs, config.batch_size, config.figures = 12.0, 16, False
    config.optimizer.learning_rate = 5e-3
    config.evaluate_every_epochs = 12.0
    return config
"""


def draw(folder, colour, count, seed):
    folder.mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng([seed, number]).integers(0, 90, (16, 16, 3))
        Image.fromarray((noise + colour).astype(np.uint8)).save(
            folder / f"{number}.png"
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A trained run, its configuration file and its pictures."""
    home = tmp_path_factory.mktemp("evaluation")
    for number, (name, colour) in enumerate(COLOURS.items()):
        for part, count in (("train", 16), ("val", 4), ("test", 4)):
            draw(home / "shop" / part / name, colour, count, 10 * number + len(part))
    (home / "config.py").write_text(CONFIG)
    run = run_in_process(
        "train",
        f"--config={home / 'config.py'}",
        f"--config.data.directory={home / 'shop'}",
        f"--workdir={home / 'run'}",
    )
    assert run.returncode == 0, run.stderr
    assert "top-1 100.00%" in run.stdout
    return home


def evaluate(home, *arguments, output=None):
    """Evaluate the run; its own report stays where there is another output."""
    run = home / "run"
    where = [f"--checkpoint={run}", f"--workdir={output or run}"]
    return run_in_process("eval", *where, *arguments)


def copy(home, tmp_path, **renamed):
    """Copy the pictures, with class folders renamed; None: gone."""
    shutil.copytree(home / "shop", tmp_path / "shop")
    for part in ("train", "val", "test"):
        for name, other in renamed.items():
            folder = tmp_path / "shop" / part / name
            if other is None:
                shutil.rmtree(folder)
            else:
                folder.rename(folder.with_name(other))
    return f"--config.data.directory={tmp_path / 'shop'}"


def test_a_directory_is_enough(home):
    before = (home / "run" / "evaluation.json").read_bytes()
    found = run_in_process("eval", f"--workdir={home / 'run'}")
    assert found.returncode == 0, found.stderr
    assert "top-1 100.00%" in found.stdout
    assert json.loads(before) == json.loads(
        (home / "run" / "evaluation.json").read_bytes()
    )


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("model.num_heads=4", "model.num_heads 2, not 4"),
        ("model.patch_size=4", "model.patch_size 8, not 4"),
        ("data.image_size=32", "height 16, not 32"),
        ("data.crop=0.8", "crop 1, not 0.8"),
        ("data.interpolation=bilinear", "interpolation 'bicubic', not 'bilinear'"),
        ("data.mean=(0.5,)", "not (0.5, 0.5, 0.5)"),
    ],
)
def test_a_setting_that_matters_is_refused(home, setting, named):
    before = (home / "run" / "evaluation.json").read_bytes()
    found = evaluate(home, f"--config.{setting}")
    assert found.returncode == 2
    assert named in found.stderr
    assert (home / "run" / "evaluation.json").read_bytes() == before


def test_dropout_and_precision_may_differ(home, tmp_path):
    free = ("--config.model.dropout=0.5", "--config.model.dtype=bfloat16")
    found = evaluate(home, *free, output=tmp_path)
    assert found.returncode == 0, found.stderr


def test_other_training_pictures_change_nothing(home, tmp_path):
    option = copy(home, tmp_path)
    for path in (tmp_path / "shop" / "train").rglob("*.png"):
        Image.new("RGB", (16, 16)).save(path)
    own = json.loads((home / "run" / "evaluation.json").read_text())
    found = evaluate(home, option, output=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads((tmp_path / "evaluation.json").read_text()) == own


def test_a_folder_of_test_images_alone_will_do(home, tmp_path):
    shutil.copytree(home / "shop" / "test", tmp_path / "shop" / "test")
    option = f"--config.data.directory={tmp_path / 'shop'}"
    found = evaluate(home, option, output=tmp_path)
    assert found.returncode == 0, found.stderr
    own = json.loads((home / "run" / "evaluation.json").read_text())
    assert json.loads((tmp_path / "evaluation.json").read_text()) == own


def test_a_renamed_class_is_refused(home, tmp_path):
    found = evaluate(home, copy(home, tmp_path, ant="zebra"))
    assert found.returncode == 2
    assert "'zebra'" in found.stderr


def test_a_class_less_is_evaluated_under_its_name(home, tmp_path):
    """Without ant, cat is the first folder, and still the second class."""
    found = evaluate(home, copy(home, tmp_path, ant=None))
    assert found.returncode == 0, found.stderr
    assert "top-1 100.00%" in found.stdout
    report = json.loads((home / "run" / "evaluation-shop.json").read_text())
    assert report["of"] == "shop"
    assert report["top1"] == 1.0


def test_swapped_names_are_seen_as_wrong(home, tmp_path):
    found = evaluate(home, copy(home, tmp_path, ant="x", cat="ant", x="cat"))
    assert found.returncode == 0, found.stderr
    assert "top-1 33.33%" in found.stdout


def test_an_edited_card_is_refused(home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    path = tmp_path / "run" / "card.json"
    path.write_text(path.read_text().replace('"ant"', '"bee"'))
    found = run_in_process("eval", f"--workdir={tmp_path / 'run'}")
    assert found.returncode == 2
    assert "was edited or damaged" in found.stderr


def test_a_run_that_goes_on_refuses_other_pictures(home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    option = copy(home, tmp_path)
    arguments = (f"--config={home / 'config.py'}", f"--workdir={tmp_path / 'run'}")
    moved = run_in_process("train", *arguments, option)
    assert moved.returncode == 0, moved.stderr
    source = tmp_path / "shop" / "train" / "ant" / "0.png"
    shutil.copy(source, source.with_name("new.png"))
    found = run_in_process("train", *arguments, option)
    assert found.returncode == 2
    assert "train: 48 examples, now 49" in found.stderr


def test_a_run_of_before_cards_is_read_and_said_to_be_unchecked(home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    (tmp_path / "run" / "card.json").unlink()
    for path in (tmp_path / "run" / "checkpoints").glob("*/_CHECKPOINT_METADATA"):
        metadata = json.loads(path.read_text())
        del metadata["custom_metadata"]["tokenjax_card"]
        path.write_text(json.dumps(metadata))
    found = run_in_process("eval", f"--workdir={tmp_path / 'run'}")
    assert found.returncode == 0, found.stderr
    assert "has no card, as before there were any" in found.stderr
    assert "top-1 100.00%" in found.stdout


def test_a_change_that_is_meant_is_made_and_named(home):
    changed = ("--config.model.num_heads=4", "--changes=num_heads")
    found = evaluate(home, *changed)
    assert found.returncode == 0, found.stderr
    own = json.loads((home / "run" / "evaluation.json").read_text())
    other = json.loads((home / "run" / "evaluation-num_heads_4.json").read_text())
    assert other["of"] == "num_heads=4"
    assert other["loss"] != own["loss"]
    found = evaluate(home, "--changes=num_heads")
    assert found.returncode == 2
    assert "--changes=num_heads: as the weights have it" in found.stderr
