"""What a loss does not depend on stays as it is, by every rule, as in PyTorch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from helpers.float_tasks import make_task
from helpers.reference_programs import loaded, program_of, tensor

from tokenjax import convert, models
from tokenjax.training.dependence import Slope, differentiate, update_reached
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.settings import Settings
from tokenjax.training.settings.choices import OPTIMIZERS
from tokenjax.training.state import make_init, make_train_step

FULL = "cifar_vit/dynamic_vit_full"
USES = {
    "used": lambda leaf: leaf.sum(),
    "used_by_zero": lambda leaf: 0.0 * leaf.sum(),
    "scanned": lambda leaf: jax.lax.scan(
        lambda carry, row: (carry * row[0], None), 1.0, leaf
    )[0],
    "jitted": jax.jit(lambda leaf: jnp.sin(leaf).sum()),
    "stopped": lambda leaf: jax.lax.stop_gradient(leaf).sum(),
    "compared": lambda leaf: jnp.where(leaf > 0, 1.0, 2.0).sum(),
    "indexed_by": lambda leaf: jnp.arange(9.0)[leaf.argmax()],
    "stopped_in_jit": jax.jit(lambda leaf: jax.lax.stop_gradient(leaf).sum()),
    "idle": lambda leaf: 0.0,
}
NOT_REACHED = {"stopped", "compared", "indexed_by", "stopped_in_jit", "idle"}
LEAVES = {name: jnp.ones((3, 3)) for name in USES}


def use_all(params):
    return sum(use(params[name]) for name, use in USES.items()), params["idle"]


def test_what_a_loss_depends_on():
    _, slope = jax.jit(functools.partial(differentiate, use_all))(LEAVES)
    reached = dict(zip(sorted(LEAVES), slope.reached, strict=True))
    assert {name for name, is_one in reached.items() if not is_one} == NOT_REACHED
    _, gradients = jax.value_and_grad(use_all, has_aux=True)(LEAVES)
    jax.tree.map(np.testing.assert_array_equal, slope.gradients, gradients)


def test_asking_changes_nothing_of_the_program():
    def plain(params):
        return jax.value_and_grad(use_all, has_aux=True)(params)

    def asked(params):
        found, slope = differentiate(use_all, params)
        return found, slope.gradients

    programs = [str(jax.make_jaxpr(each)(LEAVES)) for each in (plain, asked)]
    assert programs[0] == programs[1]


def test_a_loss_of_no_parameter():
    (loss, _), slope = differentiate(lambda params: (jnp.float32(3), None), LEAVES)
    assert loss == 3
    assert not any(slope.reached)
    assert not any(leaf.any() for leaf in jax.tree.leaves(slope.gradients))


@pytest.mark.parametrize("decay", ["all", "matrices"])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_rule_leaves_alone_what_has_no_gradient(name, decay):
    config = {"name": name, "weight_decay": 0.5, "decay": decay}
    settings = Settings.from_config({"gradient_clip": 1.0, "optimizer": config})
    optimizer = make_optimizer(settings, optax.constant_schedule(0.1), {})
    layer = {"kernel": jnp.eye(3) + 0.1, "bias": jnp.ones(3)}
    start = {"idle": layer, "zero": layer, "learning": layer}
    gradients = jax.tree.map(jnp.zeros_like, start) | {"learning": layer}
    reached = {"idle": False, "zero": True, "learning": True}
    reached = tuple(
        reached[path[0].key] for path, _ in jax.tree.leaves_with_path(start)
    )
    params, state = start, optimizer.init(start)
    structure = jax.tree.structure(state)
    step = jax.jit(functools.partial(update_reached, optimizer))
    for _ in range(3):
        updates, state = step(Slope(gradients, reached), state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(np.testing.assert_array_equal, params["idle"], start["idle"])
    # A gradient that is 0 is one: what has it decays.
    assert (params["zero"]["kernel"] < start["zero"]["kernel"])[0, 0]
    assert (params["zero"]["bias"] < 1).all() == (decay == "all")
    assert jax.tree.structure(state) == structure, "older checkpoints are read"
    for path, leaf in jax.tree.leaves_with_path(state):
        assert np.isfinite(leaf).all()
        assert "idle" not in jax.tree_util.keystr(path) or not leaf.any(), path
    # A run of before has moments of it; it goes on, and the parameter stays.
    _, older = optimizer.update(gradients, optimizer.init(start), start)
    updates, _ = step(Slope(gradients, reached), older, start)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates["idle"]))


@functools.cache
def recorded(case, **more):
    arguments = case.meta["constructor_args"]["model"] | {"dropout": 0.0}
    model = models.create("dynamic_vit", predictor="linear", **arguments, **more)
    variables = convert.from_torch(model, case.group("state"))
    return model, jax.tree.map(jnp.asarray, variables)


@pytest.mark.parametrize(
    ("name", "pruning"),
    [
        (FULL, "none"),
        ("cifar_vit/dynamic_vit_pruned", "inference"),
        pytest.param(
            "cifar_vit/dynamic_vit_pruned_default_rates",
            "inference",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_is_not_reached_is_what_the_recording_says(golden, name, pruning):
    case = golden(name)
    model, variables = recorded(case, pruning=pruning)
    images = case["input/images"].transpose(0, 2, 3, 1)

    def loss(params):
        logits, _ = model.apply({"params": params}, images)
        return jnp.sum(logits * case["input/cotangent"]), None

    _, slope = jax.eval_shape(lambda p: differentiate(loss, p), variables["params"])
    leaves, structure = jax.tree.flatten(variables["params"])
    pairs = zip(leaves, slope.reached, strict=True)
    marks = [np.full(leaf.shape, is_one, np.float32) for leaf, is_one in pairs]
    marked = convert.to_torch(model, {"params": jax.tree.unflatten(structure, marks)})
    found = {key for key, mark in marked.items() if not mark.any()}
    assert found == set(case.meta["no_gradient"])


@pytest.mark.parametrize(
    ("name", "parts"), [("adamw", 1), pytest.param("adam", 2, marks=pytest.mark.long)]
)
def test_steps_of_a_dynamic_vit_are_pytorchs(golden, assert_close, name, parts):
    """From the recorded weights: nothing is pruned, and the predictors stay."""
    case = golden(FULL)
    model, variables = recorded(case, pruning="none")
    rate, decay, steps = 1e-3, 0.3, 5
    rule = {"name": name, "weight_decay": decay, "decay": "all"}
    settings = Settings.from_config({"gradient_accumulation": parts, "optimizer": rule})
    schedule = optax.constant_schedule(rate)
    optimizer, task = make_optimizer(settings, schedule, {}), make_task(model, settings)
    state = jax.jit(make_init(task, optimizer, settings))(jax.random.key(0))
    state = dataclasses.replace(state, params=variables["params"])
    step = jax.jit(make_train_step(task, optimizer, schedule, settings))
    images, labels = case["input/images"], np.array([3, 8])
    batch = {"image": images.transpose(0, 2, 3, 1), "label": labels}

    start = case.group("state")
    program = loaded(program_of(model), start)
    rules = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    theirs = rules[name](program.parameters(), lr=rate, weight_decay=decay)
    for _ in range(steps):
        theirs.zero_grad()
        logits = program(tensor(images))
        loss = torch.nn.functional.cross_entropy(logits, tensor(labels))
        loss.backward()
        theirs.step()
        state, scalars = step(state, batch)
        assert_close(scalars["loss"], loss.detach(), 1e-4, "loss")

    final = convert.to_torch(model, state.variables())
    for key, expected in program.state_dict().items():
        found, was = final[key], start[key]
        if "predictors" in key:
            np.testing.assert_array_equal(found, was, err_msg=key)
            np.testing.assert_array_equal(expected, was, err_msg=key)
        elif not key.endswith("attn.qkv.bias"):  # softmax ignores the keys' third
            assert_close(found, expected, 2e-4, key)
            assert np.abs(found - was).max() > rate, key
