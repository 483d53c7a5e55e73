"""Layers that learn more slowly, and parameters that do not learn, by every rule."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax import models
from tokenjax.data import ArraySplit
from tokenjax.data.dataset import make_dataset
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import OPTIMIZERS
from tokenjax.training.state import make_init, make_train_step
from tokenjax.training.tasks.classification import Classification

RULES = sorted(OPTIMIZERS)
LAYERS = (("embed/**",), ("blocks_0/**",), ("blocks_1/**",), ("head/**",))
NAMES = ("embed", "blocks_0", "blocks_1", "head")
PARAMS = {name: {"kernel": jnp.eye(3) + 0.1, "bias": jnp.ones(3)} for name in (NAMES)}
GRADIENTS = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape), PARAMS)


def moved(name, steps=2, gradients=GRADIENTS, **rule):
    """How far each parameter goes, and the optimiser's state."""
    config = {"optimizer": {"name": name, "weight_decay": 0.5, **rule}}
    settings = Settings.from_config(config)
    schedule, groups = optax.constant_schedule(0.1), {contract.HEAD: ("head/**",)}
    optimizer = make_optimizer(settings, schedule, groups, LAYERS)
    state, params = optimizer.init(PARAMS), PARAMS
    for _ in range(steps):
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(lambda a, b: a - b, params, PARAMS), state


@pytest.mark.parametrize("name", RULES)
def test_each_layer_learns_more_slowly_than_the_next(name):
    plain, _ = moved(name, steps=1)
    slower, _ = moved(name, steps=1, layer_decay=0.5)
    for layer, scale in zip(NAMES, (0.125, 0.25, 0.5, 1.0), strict=True):
        expected = jax.tree.map(lambda x, s=scale: s * x, plain[layer])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            slower[layer],
            expected,
        )


@pytest.mark.parametrize("name", RULES)
def test_what_is_frozen_stays_and_costs_nothing(name):
    plain, _ = moved(name)
    found, state = moved(name, freeze=("embed", "blocks_0-0", "head/bias"))
    for layer in ("embed", "blocks_0"):
        assert not np.any(found[layer]["kernel"]), "nor does it decay"
        assert not np.any(found[layer]["bias"])
    assert not np.any(found["head"]["bias"])
    for layer, part in (("blocks_1", "kernel"), ("blocks_1", "bias")):
        np.testing.assert_allclose(found[layer][part], plain[layer][part], rtol=1e-5)
    np.testing.assert_allclose(
        found["head"]["kernel"], plain["head"]["kernel"], rtol=1e-5
    )
    sizes = [leaf.size for leaf in jax.tree.leaves(state) if leaf.size > 1]
    learned = 9 + 3 + 9
    assert sum(sizes) <= 2 * learned, "two moments at most, of what learns"


def test_what_is_frozen_has_no_share_in_clipping():
    large = {**GRADIENTS, "embed": jax.tree.map(lambda x: 1e6 * x, GRADIENTS["embed"])}
    config = {
        "gradient_clip": 1.0,
        "optimizer": {"name": "sgd", "weight_decay": 0.0, "freeze": ("embed",)},
    }
    optimizer = make_optimizer(
        Settings.from_config(config), optax.constant_schedule(1.0), {}
    )
    updates, _ = optimizer.update(large, optimizer.init(PARAMS), PARAMS)
    assert optax.tree.norm(updates) == pytest.approx(1.0, rel=1e-4)
    assert not np.any(updates["embed"]["kernel"])


def test_both_together():
    found, _ = moved("adamw", freeze=("embed",), layer_decay=0.5)
    plain, _ = moved("adamw", layer_decay=0.5)
    assert not np.any(found["embed"]["kernel"])
    jax.tree.map(np.testing.assert_array_equal, found["blocks_0"], plain["blocks_0"])


@pytest.mark.parametrize("name", RULES)
def test_a_network_that_is_held_back(name):
    """What judges tokens goes on as ever; the rest waits, then moves a little."""
    groups = {contract.HEAD: ("head/**",), contract.PREDICTORS: ("blocks_1/**",)}
    rule = {"name": name, "weight_decay": 0.5}
    settings = [
        Settings.from_config({"optimizer": rule | more})
        for more in ({}, {"network_rate": 0.25})
    ]
    schedule = optax.constant_schedule(0.1)
    plain, slow = (
        make_optimizer(each, schedule, groups, network_after=after)
        for each, after in zip(settings, (0, 2), strict=True)
    )
    states = plain.init(PARAMS), slow.init(PARAMS)
    for step in range(3):
        expected, first = plain.update(GRADIENTS, states[0], PARAMS)
        found, second = slow.update(GRADIENTS, states[1], PARAMS)
        states = first, second
        for layer in NAMES:
            scale = 1 if layer == "blocks_1" else 0 if step < 2 else 0.25
            jax.tree.map(
                lambda a, b, s=scale: np.testing.assert_allclose(a, s * b, rtol=1e-6),
                found[layer],
                expected[layer],
            )


def make_task(model=None, **optimizer):
    images = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), np.uint8)
    split = ArraySplit(images, np.arange(8, dtype=np.int32) % 2)
    dataset = make_dataset("small", ("a", "b"), split, split, split)
    settings = Settings.from_config(
        {
            "model": {"name": "vit"},
            "batch_size": 8,
            "ema_decay": 0.9,
            "optimizer": {"learning_rate": 0.1, **optimizer},
        }
    )
    small = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 3}
    model = model or models.create("vit", **small, num_heads=2, num_classes=2)
    return Classification(model, dataset, settings), settings, split


@pytest.mark.long  # every rule alone is held to it
def test_a_step_of_a_network_with_frozen_blocks():
    names = ("patch_embed", "blocks_0-1")
    task, settings, split = make_task(freeze=names, layer_decay=0.7)
    optimizer, schedule = task.optimizer()
    state = jax.jit(make_init(task, optimizer, settings))(jax.random.key(0))
    step = jax.jit(make_train_step(task, optimizer, schedule, settings))
    batch = {"image": split.images, "label": split.labels}
    after, scalars = step(state, batch)
    for name, before in state.params.items():
        still = name == "patch_embed" or name in ("blocks_0", "blocks_1")
        for averaged in (after.params, after.ema_params):
            same = jax.tree.map(np.array_equal, before, averaged[name])
            assert all(jax.tree.leaves(same)) == still, name
    # The norm that is logged is of what learns, which is not all.
    task, settings, _ = make_task()
    optimizer, schedule = task.optimizer()
    state = state.replace(opt_state=optimizer.init(state.params))
    step = jax.jit(make_train_step(task, optimizer, schedule, settings))
    _, whole = step(state, batch)
    assert scalars["loss"] == pytest.approx(float(whole["loss"]), rel=1e-5)
    assert scalars["gradient_norm"] < whole["gradient_norm"]


def test_refusals():
    with pytest.raises(
        UserError, match=r"unknown name in optimizer\.freeze 'blocks_3'"
    ):
        make_task(freeze=("blocks_1-3",))
    with pytest.raises(UserError, match="nothing is left to learn"):
        make_task(freeze=("*",))
    with pytest.raises(UserError, match="rates of its own in reid"):
        Settings.from_config(
            {
                "task": "reid",
                "optimizer": {"name": "adam", "layer_decay": 0.5},
            }
        )
    with pytest.raises(UserError, match=r"not optimizer\.network_rate"):
        Settings.from_config({"task": "reid", "optimizer": {"network_rate": 0.5}})
    for held_back in ({"network_rate": 0.5}, {"network_after_epochs": 1.0}):
        with pytest.raises(UserError, match=r"judge its tokens.* vit as it is conf"):
            make_task(**held_back)
    for wrong in (0.0, 1.5, -1.0):
        with pytest.raises(UserError, match=r"layer_decay must be within \(0, 1\]"):
            Settings.from_config({"optimizer": {"layer_decay": wrong}})


class Plain(nn.Module):
    """A classifier of somebody's own, without layers."""

    @nn.compact
    def __call__(self, images, train=False):
        logits = nn.Dense(2, name="head")(nn.Dense(3, name="body")(images.mean((1, 2))))
        return logits, {"losses": {}}

    def example_inputs(self, batch_size):
        return (jnp.zeros((batch_size, 16, 16, 3)),)

    def parameter_groups(self):
        return {"head": ("head/**",)}


def test_a_model_without_layers_is_refused_in_a_sentence():
    make_task(Plain(), freeze=("body",))
    with pytest.raises(
        UserError, match=r"layer_decay 0\.7 needs .*parameter_layers.* vit has none"
    ):
        make_task(Plain(), layer_decay=0.7)
