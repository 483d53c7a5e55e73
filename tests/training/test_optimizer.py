"""Schedules and update rules against what they say and against PyTorch's formulas."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.schedule import make_schedule
from tokenjax.training.settings import Settings

EXAMPLES = 640  # 10 steps an epoch


def settings(**config):
    return Settings.from_config({"epochs": 10.0, "batch_size": 64, **config})


def rates(schedule, **more):
    config = settings(schedule=schedule, optimizer={"learning_rate": 1.0}, **more)
    curve = make_schedule(config, EXAMPLES)
    return np.array([float(curve(step)) for step in range(101)])


def test_cosine_with_warmup():
    curve = rates({"warmup_epochs": 2.0, "minimum_learning_rate": 0.1})
    np.testing.assert_allclose(curve[:21], np.arange(21) / 20, atol=1e-6)
    assert curve[60] == pytest.approx(0.55)
    assert curve[100] == pytest.approx(0.1)
    assert (np.diff(curve[20:]) <= 0).all()


def test_cosine_is_the_recorded_one(golden):
    # The original's rate is constant within an epoch: `stepping` "step" agrees where
    # epochs begin, "epoch" everywhere.
    case = golden("cifar_vit/lr_cosine")
    recorded = case.meta["constructor_args"]["config"]
    used = case["output/lr_used"]
    for stepping, offsets in (("step", [0]), ("epoch", [0, 1, 5, 9])):
        config = settings(
            epochs=float(recorded["epochs"]),
            optimizer={"learning_rate": recorded["learning_rate"]},
            schedule={
                "minimum_learning_rate": recorded["min_lr"],
                "stepping": stepping,
            },
        )
        curve = make_schedule(config, EXAMPLES)
        for offset in offsets:
            steps = 10 * np.arange(recorded["epochs"]) + offset
            ours = [float(curve(step)) for step in steps]
            np.testing.assert_allclose(ours, used, rtol=1e-5)
        last = float(curve(10 * recorded["epochs"]))
        assert last == pytest.approx(case["output/lr_logged"][-1], rel=1e-5)


def test_a_cosine_that_steps_by_epochs_waits_for_whole_ones():
    # 650 examples are 10.16 steps: an epoch is 10 steps here as it is for evaluations.
    config = settings(schedule={"stepping": "epoch", "warmup_epochs": 2.0})
    curve = make_schedule(config, 650)
    warm = config.in_steps(2.0, 650)
    held = [float(curve(warm + step)) for step in range(31)]
    assert len(set(held[:10])) == len(set(held[10:20])) == len(set(held[20:30])) == 1
    wanted = [0.5 * (1 + np.cos(np.pi * epoch / 8)) for epoch in range(4)]
    np.testing.assert_allclose(np.array(held[::10]) / 1e-3, wanted, rtol=1e-5)


def test_step_and_multistep_count_from_the_start_of_the_run():
    curve = rates({"name": "step", "step_epochs": 4.0, "warmup_epochs": 1.0})
    np.testing.assert_allclose(curve[[10, 39, 40, 79, 80]], [1, 1, 0.1, 0.1, 0.01])
    milestones = {"name": "multistep", "milestones": (3.0, 5.0), "warmup_epochs": 1.0}
    curve = rates(milestones)
    np.testing.assert_allclose(curve[[10, 29, 30, 49, 50]], [1, 1, 0.1, 0.1, 0.01])


def test_constant():
    np.testing.assert_allclose(rates({"name": "constant"}), 1)


def update(config, params, gradients, steps=1):
    optimizer = make_optimizer(config, optax.constant_schedule(0.1), {})
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params


PARAMS = {"head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
ZEROS = {"head": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}}


@pytest.mark.parametrize("decay", ["matrices", "all"])
def test_weight_decay_reaches_what_it_says(decay):
    rule = {"name": "adamw", "weight_decay": 0.5, "decay": decay}
    after = update(settings(optimizer=rule), PARAMS, ZEROS)["head"]
    np.testing.assert_allclose(after["kernel"], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after["bias"], 0.95 if decay == "all" else 1, rtol=1e-6)


def test_momentum_is_pytorchs():
    rule = {"name": "momentum", "weight_decay": 0.0, "momentum": 0.9}
    ones = {"head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    after = update(settings(optimizer=rule), PARAMS, ones, steps=2)
    np.testing.assert_allclose(after["head"]["bias"], 1 - 0.1 * (1 + 1.9), rtol=1e-6)


def test_clipping_is_by_the_global_norm():
    rule = {"name": "sgd", "weight_decay": 0.0}
    gradients = {"head": {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.zeros(2)}}
    config = settings(optimizer=rule, gradient_clip=1.0)
    after = update(config, PARAMS, gradients)["head"]["kernel"]
    np.testing.assert_allclose(after, 1 - 0.1 * 0.5, rtol=1e-5)
