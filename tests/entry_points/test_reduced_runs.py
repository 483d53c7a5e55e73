"""Runs with a reduction of tokens, and runs evaluated with another than their own."""

import json
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.entry_points import run_in_process
from helpers.loadable import CLASSES, save_weights
from helpers.small_models import small

import tokenjax
from tokenjax import models, reduced_weights
from tokenjax.arguments import COUNT
from tokenjax.errors import UserError
from tokenjax.models import reduction
from tokenjax.models.layers import Linear
from tokenjax.models.reduction import methods
from tokenjax.ops import token_selection

CONFIG = """
from ml_collections import ConfigDict
from tokenjax.training import default_config

def get_config():
    config = default_config()
    config.model = ConfigDict({"name": "vit", "patch_size": 4, "embed_dim": 16,
                               "depth": 2, "num_heads": 2})
    config.data = ConfigDict({"source": "digits", "image_size": 16})
    config.steps, config.batch_size, config.figures = 2, 64, False
    return config
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network keeps all 16 patches."""
    return train(tmp_path_factory.mktemp("whole"))


def train(home, *arguments):
    (home / "config.py").write_text(CONFIG)
    run = home / "run"
    done = run_in_process(
        "train", f"--config={home / 'config.py'}", f"--workdir={run}", *arguments
    )
    assert done.returncode == 0, done.stderr
    return run


def evaluate(run, *arguments):
    return run_in_process("eval", f"--workdir={run}", *arguments)


def read(path):
    return json.loads(path.read_text())


def test_a_reduction_is_free_to_give(run):
    before = (run / "evaluation.json").read_bytes()
    found = evaluate(run, "--reduction=tome:r=7,prop_attn=False", "--config.figures")
    assert found.returncode == 0, found.stderr
    drawn = run / "figures-reduction_tome_r_7_prop_attn_False"
    assert (drawn / "token_regions.png").is_file()
    path = run / "evaluation-reduction_tome_r_7_prop_attn_False.json"
    reduced, whole = read(path), json.loads(before)
    assert reduced["loss"] != whole["loss"]
    assert (run / "evaluation.json").read_bytes() == before
    predictor = tokenjax.load(run, reduction="tome:r=7,prop_attn=False")
    assert predictor.model.reduction == "tome:r=7,prop_attn=False"
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    ours, theirs = (each.predict(images) for each in (predictor, tokenjax.load(run)))
    assert not np.array_equal(ours.logits, theirs.logits)


def test_its_own_reduction_may_be_named(run):
    before = read(run / "evaluation.json")
    found = evaluate(run, "--reduction=none")
    assert found.returncode == 0, found.stderr
    assert read(run / "evaluation.json")["loss"] == before["loss"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--reduction=tom"], "unknown method 'tom'"),
        (["--reduction=tome:r=17"], "the image has 16 patches"),
        (["--reduction=tome", "--sweep=reduction=tome"], "take --sweep reduction=..."),
        (["--reduction=tome", "--eval_all"], "--reduction is of one evaluation"),
        (["--config.model.reduction=tome:r=2"], "(--changes=ARGUMENT, if"),
        (["--sweep=reduction=tome:rr=2"], "unknown argument of tome 'rr'"),
        (["--sweep=reduction=none"], "does not act at inference"),
    ],
)
def test_what_does_not_fit_is_a_sentence(run, arguments, sentence):
    found = evaluate(run, *arguments)
    assert found.returncode == 2
    assert sentence in found.stderr
    assert found.stderr.count("error: ") == 1


def test_methods_are_swept(run):
    found = evaluate(
        run, "--sweep=reduction=tome:r=4,prop_attn=False,tome:r=7", "--batch_size=2"
    )
    assert found.returncode == 0, found.stderr
    rows = read(run / "sweep-reduction.json")["rows"]
    assert [(row["value"], row["trained"]) for row in rows] == [
        ("tome:r=4,prop_attn=False", False),
        ("tome:r=7", False),
        (None, True),
    ]
    four, seven, whole = (row["mflops"] for row in rows)
    assert seven < four < whole
    assert rows[2]["top1"] == read(run / "evaluation.json")["top1"]


@pytest.mark.long  # a second run; what is new is that training reduces
def test_a_run_trained_with_one_and_evaluated_without(tmp_path):
    run = train(tmp_path, "--config.model.reduction=tome:r=7")
    own = read(run / "evaluation.json")
    assert read(run / "config.json")["model"]["reduction"] == "tome:r=7"
    assert tokenjax.load(run).model.reduction == "tome:r=7"
    found = evaluate(run, "--reduction=none")
    assert found.returncode == 0, found.stderr
    assert read(run / "evaluation-reduction_None.json")["loss"] != own["loss"]


@pytest.mark.long  # a run of another task
@pytest.mark.parametrize("reduction", ["none", "tome:r=3"])
def test_what_learned_to_prune_is_evaluated_without_that(run, tmp_path, reduction):
    learned = train(
        tmp_path,
        "--config.task=pruning",
        "--config.model.reduction=dynamicvit:pruning_loc=(1,),token_ratio=0.5",
        f"--config.distillation.teacher={run}",
    )
    found = evaluate(learned, f"--reduction={reduction}")
    assert found.returncode == 0, found.stderr
    (report,) = learned.glob("evaluation-reduction_*.json")
    assert read(report)["loss"] != read(learned / "evaluation.json")["loss"]
    assert tokenjax.load(learned, reduction=reduction).model.reduction != "dynamicvit"


class Learned(reduction.Reducer):
    """Keeps the patches that a linear layer of its own wants."""

    site = "before"
    kept: Annotated[int, COUNT, "patches that stay"] = 8

    def amounts(self, encoder):
        return {1: self.kept}

    @nn.compact
    def __call__(self, token_set, seen, place, train):
        scores = Linear(1, name="score")(token_set.patches)[..., 0]
        kept = token_selection.top_indices(scores, place.amount).astype(jnp.int32)
        left, step = reduction.select_patches(token_set, kept)
        return left, reduction.Reduction(step, scores)


@pytest.fixture
def learned(monkeypatch):
    monkeypatch.setitem(methods.METHODS._things, "learned", Learned)


def test_a_method_needs_its_own_weights_and_leaves_them_behind(learned, tmp_path):
    trained, whole = small("vit", reduction="learned:kept=4"), small("vit")
    path = save_weights(tmp_path / "own", "vit", trained, classes=CLASSES)
    images = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), np.uint8)
    for written in ("none", "tome:r=2"):
        predictor = tokenjax.load(path, reduction=written)
        shapes = jax.tree.map(jnp.shape, whole.init(jax.random.key(0), images / 255))
        assert jax.tree.map(jnp.shape, predictor.variables) == shapes
        predictor.predict(images)
    kept = tokenjax.load(path, reduction="learned:kept=8")
    assert kept.model.reduction == "learned:kept=8"
    path = save_weights(tmp_path / "without", "vit", whole, classes=CLASSES)
    with pytest.raises(UserError, match=r"learned has weights .* \(.*score.*\), which"):
        tokenjax.load(path, reduction="learned")


def test_weights_of_another_model_are_not_touched():
    variables = {"params": {"a": np.zeros(1)}}
    trained, model = small("vit"), models.create("resnet50")
    assert reduced_weights.fit(variables, trained, model) is variables


def test_a_network_that_takes_none(tmp_path):
    path = save_weights(tmp_path / "w", "linear_vit", small("linear_vit"))
    with pytest.raises(UserError, match="linear_vit takes no reduction of tokens"):
        tokenjax.load(path, reduction="tome")
    path = save_weights(tmp_path / "v", "vit", small("vit"))
    with pytest.raises(UserError, match="unknown method 'tom'"):
        tokenjax.load(path, reduction="tom")
