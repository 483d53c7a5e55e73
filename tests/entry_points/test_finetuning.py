"""Runs that start from weights: of a run, of other classes, of another network."""

import json
import shutil

import jax
import numpy as np
import pytest
from helpers.training_runs import run, train_small
from PIL import Image
from safetensors.numpy import save_file

import tokenjax
from tokenjax import convert, models, storage
from tokenjax.training.checkpoints import load_weights

VIT = "configs/vit.py"
DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small network, trained on digits."""
    workdir = tmp_path_factory.mktemp("source") / "digits"
    finished = train_small(workdir, config=VIT)
    assert finished.returncode == 0, finished.stderr
    return workdir


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of pictures, each of a colour of its own."""
    root = tmp_path_factory.mktemp("photos") / "animals"
    for number, name in enumerate(("cat", "dog", "fox")):
        (root / name).mkdir(parents=True)
        for index in range(12):
            random = np.random.default_rng([number, index])
            pixels = random.integers(0, 100, (40, 48, 3), np.uint8)
            pixels[..., number] += 120
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def start(workdir, source, *arguments):
    return train_small(workdir, f"--config.init_from={source}", *arguments, config=VIT)


def weights(workdir):
    return load_weights(workdir, "last").variables["params"]


@pytest.mark.long  # adaptation/ holds the weights to it
def test_a_run_without_a_step_of_learning_has_its_sources_weights(source, tmp_path):
    still = ("--config.steps=1", "--config.optimizer.learning_rate=0.")
    finished = start(tmp_path / "run", source, *still)
    assert finished.returncode == 0, finished.stderr
    assert "a new head" not in finished.stdout
    ours, theirs = weights(tmp_path / "run"), weights(source)
    for part in ("head", "patch_embed", "norm"):
        for key, array in theirs[part].items():
            np.testing.assert_array_equal(ours[part][key], array)
    np.testing.assert_array_equal(ours["pos_embed"], theirs["pos_embed"])
    # One update of rate 0 is none, so the test is the source's.
    before, after = (
        storage.read_json(where / "evaluation.json")
        for where in (source, tmp_path / "run")
    )
    assert after["top1"] == before["top1"]
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-6)


def test_classes_in_another_order_are_the_same_classes(source, tmp_path):
    turned = tuple(reversed(DIGITS))
    finished = start(
        *(tmp_path / "run", source, f"--config.data.classes={turned!r}"),
        *("--config.steps=1", "--config.optimizer.learning_rate=0."),
    )
    assert finished.returncode == 0, finished.stderr
    assert "the head's classes are put in this run's order" in finished.stdout
    kernel, theirs = (
        weights(at)["head"]["kernel"] for at in (tmp_path / "run", source)
    )
    np.testing.assert_array_equal(kernel, theirs[:, ::-1])
    before, after = (
        storage.read_json(where / "evaluation.json")
        for where in (source, tmp_path / "run")
    )
    assert after["top1"] == before["top1"]
    recalls = [
        {row["name"]: row["recall"] for row in each["per_class"]}
        for each in (before, after)
    ]
    assert recalls[0] == recalls[1]


def test_another_network_of_the_same_shapes_is_refused(source, tmp_path):
    finished = start(tmp_path / "run", source, "--config.model.num_heads=4")
    assert finished.returncode == 2
    assert (
        f"init_from {source} was trained as another network than the run's: "
        "model.num_heads 2, not 4; what may differ is named in init_changes"
    ) in finished.stderr
    assert not (tmp_path / "run").exists(), "nothing is claimed"
    meant = start(
        *(tmp_path / "run", source, "--config.model.num_heads=4"),
        *("--config.init_changes=('num_heads',)", "--config.steps=1"),
    )
    assert meant.returncode == 0, meant.stderr
    wrong = start(tmp_path / "more", source, "--config.init_changes=('num_head',)")
    assert wrong.returncode == 2
    assert "init_changes: argument of vit 'num_head', did you mean" in wrong.stderr


def test_settings_of_a_start_belong_to_one(tmp_path):
    finished = train_small(tmp_path / "run", "--config.init_head=new", config=VIT)
    assert finished.returncode == 2
    assert "init_head and init_changes are read with init_from alone" in finished.stderr


def test_weights_of_before_cards_are_taken_by_their_shapes_and_it_is_said(
    source, tmp_path
):
    old = tmp_path / "old"
    storage.save_variables(old, load_weights(source, "last").variables, {"model": {}})
    finished = run(
        *("train.py", "--config", VIT, "--workdir", tmp_path / "run"),
        *(f"--config.init_from={old}", "--config.data.image_size=16"),
        *("--config.model.patch_size=8", "--config.model.embed_dim=16"),
        *("--config.model.depth=1", "--config.model.num_heads=4"),
        *("--config.steps=1", "--config.figures=False"),
    )
    assert finished.returncode == 0, finished.stderr
    assert f"init_from {old} has no card, as before there were any" in finished.stderr
    assert (
        "the head is kept: it has 10 classes, whose names it lacks" in finished.stdout
    )


def test_the_model_is_the_weights_own(source, photos, tmp_path):
    """Fine-tuned on pictures of another size, in colour, of other classes."""
    finished = run(
        *("train.py", "--config", "configs/finetune.py", "--workdir", tmp_path / "run"),
        *(f"--config.init_from={source}", f"--config.data.directory={photos}"),
        *("--config.data.image_size=24", "--config.epochs=1", "--config.figures=False"),
    )
    assert finished.returncode == 0, finished.stderr
    (said,) = [
        line for line in finished.stdout.splitlines() if line.startswith("init_from")
    ]
    assert "positions resized from 2x2 to 3x3" in said
    assert "kernels that read 1 channels are shared out to read 3" in said
    assert "a new head for 3 classes" in said
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    theirs = json.loads((source / "config.json").read_text())
    assert config["model"] == theirs["model"]
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["classes"] == ["cat", "dog", "fox"]
    assert card["model"]["num_classes"] == 3
    trained_on = json.loads((source / "card.json").read_text())
    assert card["images"]["mean"] == trained_on["images"]["mean"] * 3


def test_two_commands_from_timms_file_to_ones_own_classes(photos, tmp_path):
    """Converted, fine-tuned at another size, and asked with the pictures elsewhere."""
    model = models.create("vit_tiny_patch16", img_size=64, depth=1)
    variables = jax.jit(model.init)(jax.random.key(0), *model.example_inputs(1))
    state = convert.to_torch(model, variables)  # timm's keys
    file = tmp_path / "vit_tiny.safetensors"
    save_file({key: np.ascontiguousarray(value) for key, value in state.items()}, file)
    finished = run(
        *("-m tokenjax.convert", "--model=vit_tiny_patch16", f"--checkpoint={file}"),
        *(f"--output={tmp_path / 'converted'}", "--model.img_size=64"),
        "--model.depth=1",
    )
    assert finished.returncode == 0, finished.stderr
    pictures = shutil.copytree(photos, tmp_path / "pictures")
    finished = run(
        *("train.py", "--config", "configs/finetune.py", "--workdir", tmp_path / "run"),
        *(f"--config.init_from={tmp_path / 'converted'}", "--config.epochs=20"),
        *(f"--config.data.directory={pictures}", "--config.data.image_size=96"),
        *("--config.figures=False", "--config.evaluate_every_epochs=20"),
        "--config.checkpoint.every_epochs=20",
    )
    assert finished.returncode == 0, finished.stderr
    assert "positions resized from 4x4 to 6x6; a new head for 3" in finished.stdout
    elsewhere = pictures.rename(tmp_path / "elsewhere")
    found = tokenjax.load(tmp_path / "run").predict(
        [elsewhere / name / "0.png" for name in ("fox", "cat", "dog")]
    )
    assert list(found.best) == ["fox", "cat", "dog"]


def test_without_weights_the_model_is_missing(photos, tmp_path):
    finetune = ("train.py", "--config", "configs/finetune.py")
    where = ("--workdir", tmp_path / "run", f"--config.data.directory={photos}")
    finished = run(*finetune, *where)
    assert finished.returncode == 2
    assert "--config.init_from=DIR" in finished.stderr
    finished = run(*finetune, *where, f"--config.init_from={photos}")
    assert finished.returncode == 2
    assert "has no card, so what its model is is not told" in finished.stderr
    finished = run(*finetune, *where, f"--config.init_from={tmp_path / 'none'}")
    assert finished.returncode == 2
    assert "init_from: no directory" in finished.stderr
    assert not (tmp_path / "run").exists()


def test_the_image_size_is_the_weights_own_unless_given(source, photos):
    from tokenjax import config_files, configuration

    config = config_files.load_config("configs/finetune.py")
    configuration.complete(config, {"init_from": str(source)})
    assert config.data.image_size == 16
    assert (config.model.name, config.model.embed_dim) == ("vit", 16)
    assert config.model.img_size is None
    config = config_files.load_config("configs/finetune.py")
    chosen = {"init_from": str(source), "data.source": "cluttered"}
    configuration.complete(config, chosen)
    assert "image_size" not in config.data
    config = config_files.load_config("configs/finetune.py")
    configuration.complete(config, {"init_from": str(source), "model.name": "vdpa"})
    assert config.model.name == "vdpa"
