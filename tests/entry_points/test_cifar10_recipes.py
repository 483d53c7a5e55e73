"""The original CIFAR-ViT's recipes: their numbers, and a run on a small archive."""

import hashlib
import json

import jax
import numpy as np
import pytest
from helpers import training_runs
from helpers.cifar10_archive import make_batches, write_batches
from helpers.entry_points import run_in_process

from tokenjax import config_files, data, models
from tokenjax.data.preparation import cifar10_archive
from tokenjax.training.settings import Settings

# What the original's files and constructors say: parameters, learning rate, alphas of
# mixup and cutmix; 100 epochs of 128, clip 1, decay 1e-4 and the schedule are of all.
RECIPES = {
    "vit:cifar10": (18_979_338, 3e-4, 0.0, 0.0),
    "vit:cifar10_small": (21_342_346, 3e-4, 0.0, 0.0),
    "vit:cifar10_tiny": (5_362_762, 3e-4, 0.0, 0.0),
    "dynamic_vit:cifar10": (10_697_872, 5e-4, 0.8, 1.0),
    "linear_vit:cifar10": (8_923_786, 5e-4, 1.0, 0.0),
    "imbalanced:cifar10": (18_979_338, 3e-4, 0.0, 0.0),
    "imbalanced:cifar10_weighted": (18_979_338, 3e-4, 0.0, 0.0),
    "imbalanced:cifar10_sampler": (18_979_338, 3e-4, 0.0, 0.0),
    "imbalanced:cifar10_both": (18_979_338, 3e-4, 0.0, 0.0),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_are_the_originals(name):
    parameters, rate, mixup, cutmix = RECIPES[name]
    config = config_files.load_config(name)
    settings = Settings.from_config(config)
    arguments = dict(settings.model)
    model = models.create(arguments.pop("name"), **arguments)
    variables = jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs(1))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == parameters
    assert model.dropout == 0.1
    assert model.dtype == "float32"
    rule, schedule = settings.optimizer, settings.schedule
    assert (rule.name, rule.learning_rate, rule.weight_decay) == ("adamw", rate, 1e-4)
    assert (rule.decay, settings.gradient_clip) == ("all", 1.0)
    assert (schedule.name, schedule.stepping) == ("cosine", "epoch")
    assert (schedule.minimum_learning_rate, schedule.warmup_epochs) == (1e-6, 0.0)
    assert (settings.batch_size, settings.epochs, settings.seed) == (128, 100.0, 42)
    assert settings.label_smoothing == 0.0
    assert settings.evaluation_loss == "criterion"
    assert (settings.checkpoint.evaluate, settings.evaluate_every_epochs) == ("best", 1)
    drawn = settings.augmentation
    assert (drawn.mixup, drawn.cutmix, drawn.cutout) == (mixup, cutmix, 0)
    assert (drawn.mixup_probability, drawn.cutmix_probability) == (0.5, 0.5)
    assert (drawn.crop_padding, drawn.horizontal_flip, drawn.rotation) == (4, True, 15)
    assert (drawn.brightness, drawn.contrast, drawn.saturation) == (0.2, 0.2, 0.2)


def test_the_learned_and_the_claimed_recipe_can_be_built():
    for name in ("dynamic_vit:cifar10_learned", "vit:cifar10_claimed"):
        settings = Settings.from_config(config_files.load_config(name))
        arguments = dict(settings.model)
        models.create(arguments.pop("name"), **arguments)
    assert settings.model["dtype"] == "bfloat16"


@pytest.mark.long
def test_a_run_on_the_originals_imbalanced_set(tmp_path, monkeypatch):
    """In small: 10 images of the first class down to 1 of the last, of all 100."""
    archive = write_batches(tmp_path / "archive.tar.gz", make_batches())
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10_archive, "MD5", md5)
    folder, workdir = tmp_path / "set", tmp_path / "run"
    prepared = run_in_process(
        *("data", "prepare", "cifar10", "--imbalanced"),
        *("--archive", str(archive), "--output", str(folder)),
    )
    assert prepared.returncode == 0, prepared.stderr
    small = ["embed_dim=8", "depth=1", "num_heads=2"]
    finished = training_runs.run(
        "train.py",
        *["--config", "configs/imbalanced.py:cifar10", "--workdir", workdir],
        *[f"--config.model.{each}" for each in small],
        *["--config.steps=2", "--config.batch_size=16", "--config.figures=False"],
        f"--config.data.directory={folder}",
    )
    assert finished.returncode == 0, finished.stderr
    kept = data.read_indices(workdir / "train_indices.txt")
    listed = data.read_indices(folder / "imbalanced_indices.txt")
    np.testing.assert_array_equal(kept, listed)
    summary = json.loads((workdir / "evaluation.json").read_text())
    assert summary["train_counts"] == list(range(10, 0, -1))
    assert [row["name"] for row in summary["per_class"]][:2] == [
        "airplane",
        "automobile",
    ]
    card = json.loads((workdir / "card.json").read_text())
    assert card["data"]["splits"]["validation"]["examples"] == 9
