"""A step in parts is the step of the whole batch, whatever ratios the loss is made of.

Nothing here is drawn: draws go by the position in a part of the batch.
"""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax import models
from tokenjax.data import ArraySplit
from tokenjax.data.augmentation.mixing import Mixed
from tokenjax.data.dataset import make_dataset
from tokenjax.training.settings import Settings
from tokenjax.training.state import make_init, make_train_step
from tokenjax.training.tasks import pruning
from tokenjax.training.tasks.classification import Classification

SMALL = {
    "img_size": 8,
    "patch_size": 4,
    "in_channels": 1,
    "embed_dim": 8,
    "depth": 1,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "dropout": 0.0,
    "attn_dropout": 0.0,
}
ROWS = 24
LABELS = np.array([0] * 15 + [1] * 6 + [2] * 3, np.int32)  # 2 is in one part of 4 alone


def dataset():
    images = np.random.default_rng(0).integers(0, 255, (ROWS, 8, 8, 1), np.uint8)
    split = ArraySplit(images, LABELS)
    return make_dataset("uneven", ("a", "b", "c"), split, split, split)


BATCH = {"image": dataset().train.images, "label": LABELS}


def make(parts, task=Classification, **config):
    """The task, its settings, and a state with parameters that tell apart."""
    config = {
        "batch_size": ROWS,
        "gradient_accumulation": parts,
        "model": {"name": "vit"},
        **config,
    }
    settings = Settings.from_config(config)
    model = models.create("vit", **SMALL, num_classes=3)
    learner = task(model, dataset(), settings)
    optimizer = optax.sgd(1.0)
    state = jax.jit(make_init(learner, optimizer, settings))(jax.random.key(0))
    params = jax.tree.map(
        lambda x: x + 0.05 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), state.params
    )
    return learner, settings, dataclasses.replace(state, params=params)


def stepped(parts, **more):
    """Gradients and scalars of one step of plain descent at rate 1."""
    learner, settings, state = make(parts, **more)
    schedule = optax.constant_schedule(1.0)
    step = jax.jit(make_train_step(learner, optax.sgd(1.0), schedule, settings))
    after, scalars = step(state, BATCH)
    gradients = jax.tree.map(lambda a, b: np.asarray(a - b), state.params, after.params)
    return gradients, scalars


def assert_same_step(found, expected):
    (ours, scalars), (theirs, others) = found, expected
    size = max(float(np.abs(x).max()) for x in jax.tree.leaves(theirs))
    assert size > 1e-3
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5 * size)
    assert set(scalars) == set(others)
    for key, value in scalars.items():
        np.testing.assert_allclose(
            value, others[key], rtol=2e-5, atol=1e-6, err_msg=key
        )


CASES = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1},
    "weighted": {"imbalance": {"class_weights": "inverse_frequency"}},
    "weighted and smoothed": {
        "imbalance": {"class_weights": "inverse_frequency"},
        "label_smoothing": 0.2,
    },
    "adjusted": {"imbalance": {"logit_adjustment": 1.0}},
}
SHORT = {"weighted and smoothed"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c in SHORT else pytest.mark.long) for c in CASES],
)
def test_classification(case):
    whole = stepped(1, **CASES[case])
    for parts in (3, 4):
        assert_same_step(stepped(parts, **CASES[case]), whole)


class Half(Classification):
    """Mixes every image with another of its part, by a share of its own."""

    def training_images(self, batch, key):
        share = jnp.where(batch["label"] == 0, 0.9, 0.4)
        return Mixed(self.prepare(batch["image"]), 2 - batch["label"], share)


def test_weighted_pairs():
    weights = {"imbalance": {"class_weights": "inverse_frequency"}}
    whole = stepped(1, task=Half, **weights)
    found = stepped(4, task=Half, **weights)
    for _, scalars in (whole, found):
        del scalars["accuracy"]  # a share for each image makes an array of it
    assert_same_step(found, whole)


class Kept(Classification):
    """Adds pruning's distance of the tokens kept: fewer of some images than others."""

    def class_loss(self, logits, aux, labels, mixed):
        loss, scalars = super().class_loss(logits, aux, labels, mixed)
        keep = (jnp.arange(4) <= labels[:, None]).astype(jnp.float32)  # (b, p)
        tokens = aux["tokens"]
        distance = pruning.token_distance(tokens, jnp.sin(3 * tokens), keep)
        return loss + distance, {**scalars, "token_distance": distance}


def test_distance_of_tokens_kept():
    assert_same_step(stepped(4, task=Kept), stepped(1, task=Kept))


class Budget(Classification):
    """Asks for a mean over the batch, squared, as a router's budget does."""

    def class_loss(self, logits, aux, labels, mixed):
        loss, scalars = super().class_loss(logits, aux, labels, mixed)
        model = models.create("attention_routing", budget_weight=3.0)
        budget = model.budget_loss(jax.nn.sigmoid(logits), 0.3)
        return loss + budget, {**scalars, "budget": budget}


def test_squares_of_means():
    assert_same_step(stepped(4, task=Budget), stepped(1, task=Budget))


def matrix_products(**more):
    learner, settings, state = make(4, **more)
    schedule = optax.constant_schedule(1.0)
    step = jax.jit(make_train_step(learner, optax.sgd(1.0), schedule, settings))
    text = step.lower(state, BATCH).as_text()
    return len(re.findall(r"stablehlo\.dot_general", text))


def test_no_network_runs_twice_for_what_labels_tell():
    plain = matrix_products()
    assert matrix_products(**CASES["weighted"]) == plain
    assert matrix_products(task=Budget) > plain  # its mean is the network's
