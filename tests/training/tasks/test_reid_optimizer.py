"""Parameter groups and their rates against the recorded ones; freezing and delay."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax import models
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.reid_optimizer import (
    group_rates,
    reid_optimizer,
    scale_by_group,
)
from tokenjax.training.tasks.reid_schedule import (
    ReidSchedule,
    epoch_rate,
    group_schedule,
    recorded_noise,
)

PATHS = {  # the recorded names
    "BACKBONE.cv_embed": ("cv_embed",),
    "BACKBONE.base.conv1.weight": ("backbone", "conv1", "kernel"),
    "BACKBONE.base.ln_pre.weight": ("backbone", "ln_pre", "scale"),
    "BACKBONE.base.ln_pre.bias": ("backbone", "ln_pre", "bias"),
    "classifier.weight": ("classifier_direct", "kernel"),
    "bottleneck.weight": ("bottleneck_direct", "scale"),
    "rgb_reduce.weight": ("rgb_reduce", "kernel"),
    "rgb_reduce.bias": ("rgb_reduce", "bias"),
}
RATES = {"base_learning_rate": 3.5e-4, "backbone_learning_rate": 5e-6}
GROUPS = models.create("demo").parameter_groups()
EXAMPLES, BATCH = 80, 8  # 10 steps an epoch


def parameters():
    params = {
        "backbone": {"conv1": {"kernel": 1.0}, "ln_pre": {"scale": 1.0, "bias": 1.0}},
        "cv_embed": 1.0,
        "rgb_reduce": {"kernel": 1.0, "bias": 1.0},
        "sdtps": {"rgb_sparse": {"kernel": 1.0, "bias": 1.0}},
        "bottleneck_direct": {"scale": 1.0, "bias": 0.5},
        "bottleneck_fused": {"scale": 1.0, "bias": 0.5},
        "classifier_direct": {"kernel": 1.0},
        "classifier_fused": {"kernel": 1.0},
    }
    return jax.tree.map(lambda value: jnp.full((2,), value), params)


def at(tree, path):
    return functools.reduce(lambda node, key: node[key], path, tree)


def settings(**more):
    config = {
        "task": "reid",
        "epochs": 6.0,
        "batch_size": BATCH,
        "optimizer": {"name": "adam", "learning_rate": 3.5e-4, "decay": "all"},
        "schedule": {"warmup_epochs": 2.0},
    }
    return Settings.from_config({**config, **more})


def run(steps, optimizer, params=None):
    """Parameters and states after every step on gradients of ones, jitted, donated."""
    params = parameters() if params is None else params
    state = jax.jit(optimizer.init)(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        gradients = jax.tree.map(jnp.ones_like, params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    found = []
    for _ in range(steps):
        params, state = step(params, state)
        found.append(jax.tree.map(np.array, (params, state)))
    return found


def test_rates_are_the_recorded_ones(golden):
    case = golden("reid/lr_schedule")
    rates = group_rates(parameters(), GROUPS, **RATES)
    base = [at(rates, PATHS[name]) for name in case.meta["groups"]]
    np.testing.assert_allclose(base, case["output/base_lr"], rtol=1e-12)
    solver = case.meta["constructor_args"]["solver"]
    schedule = functools.partial(
        ReidSchedule,
        base_learning_rate=solver["BASE_LR"],
        epochs=solver["MAX_EPOCHS"],
        warmup_epochs=solver["WARMUP_ITERS"],
        warmup_start="recorded",
    )
    noise = recorded_noise(solver["MAX_EPOCHS"])
    np.testing.assert_allclose(noise, case["input/noise"], rtol=1e-12)
    epochs = range(1, solver["MAX_EPOCHS"] + 1)
    for key, plan in (
        ("output/lr", schedule(noise=noise)),
        ("output/lr_without_noise", schedule()),
    ):
        ours = [[epoch_rate(b, epoch, plan) for b in base] for epoch in epochs]
        np.testing.assert_allclose(ours, case[key], rtol=1e-12)


def test_own_warm_up_starts_every_group_at_a_tenth():
    schedule = ReidSchedule(3.5e-4, epochs=20, warmup_epochs=10)
    for rate in (5e-6, 3.5e-4):
        ours = [epoch_rate(rate, epoch, schedule) for epoch in range(1, 10)]
        np.testing.assert_allclose(ours, rate * (0.1 + 0.09 * np.arange(1, 10)))
    with pytest.raises(ValueError, match="own"):
        ReidSchedule(3.5e-4, epochs=20, warmup_start="other")


def test_a_rate_is_constant_within_an_epoch():
    schedule = ReidSchedule(1.0, epochs=4, warmup_epochs=2)
    curve = jax.jit(group_schedule(1.0, schedule, steps_per_epoch=2.5))
    rates = [float(curve(step)) for step in range(12)]
    epochs = [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4]  # from 0, 2, 5 and 8
    expected = [epoch_rate(1.0, epoch, schedule) for epoch in epochs]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_large_classifier_and_biases():
    rates = group_rates(parameters(), GROUPS, **RATES, bias_factor=3.0, large_fc=True)
    assert rates["classifier_fused"]["kernel"] == pytest.approx(7e-4)
    assert rates["rgb_reduce"]["bias"] == pytest.approx(1.05e-3)
    assert rates["backbone"]["ln_pre"]["bias"] == 5e-6


def test_adam_is_the_recorded_one(golden, assert_close):
    case = golden("reid/adam_l2")
    decay = case.meta["constructor_args"]["weight_decay"]
    rule = {"name": "adam", "weight_decay": decay, "decay": "all"}
    rates = jnp.asarray(case["input/learning_rates"], jnp.float32)
    optimizer = optax.chain(
        make_optimizer(settings(optimizer=rule), optax.constant_schedule(1.0), {}),
        scale_by_group(lambda tree: {"x": 1.0}, lambda rate: lambda step: rates[step]),
    )
    params = {"x": jnp.asarray(case["input/parameter"])}
    state = optimizer.init(params)
    for gradient, expected in zip(
        case["input/gradients"], case["output/parameters"], strict=True
    ):
        updates, state = optimizer.update({"x": gradient}, state, params)
        params = optax.apply_updates(params, updates)
        assert_close(params["x"], expected, 1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw", "momentum"])
@pytest.mark.parametrize("freeze", [False, True])
def test_what_is_frozen_neither_moves_nor_decays(name, freeze):
    rule = {"name": name, "learning_rate": 0.1, "weight_decay": 0.5}
    config = settings(optimizer=rule, reid={"freeze_backbone": freeze})
    optimizer, _ = reid_optimizer(config, EXAMPLES, GROUPS)
    start = parameters()
    params, _ = run(2, optimizer)[-1]
    moved = jax.tree.map(lambda a, b: bool((a != b).all()), params, start)
    assert not moved["bottleneck_direct"]["bias"]
    assert not moved["bottleneck_fused"]["bias"]
    assert moved["backbone"]["conv1"]["kernel"] is not freeze
    assert moved["backbone"]["ln_pre"]["bias"] is not freeze
    for other in ("cv_embed", "rgb_reduce", "sdtps", "classifier_fused"):
        assert all(jax.tree.leaves(moved[other])), other


def test_what_the_optimizer_freezes_stays_too():
    rule = {"name": "adam", "learning_rate": 0.1, "freeze": ("ln_pre", "sdtps")}
    optimizer, _ = reid_optimizer(settings(optimizer=rule), EXAMPLES, GROUPS)
    params, _ = run(2, optimizer)[-1]
    moved = jax.tree.map(lambda a, b: bool((a != b).all()), params, parameters())
    assert not any(jax.tree.leaves(moved["backbone"]["ln_pre"]))
    assert not any(jax.tree.leaves(moved["sdtps"]))
    assert moved["backbone"]["conv1"]["kernel"]
    assert all(jax.tree.leaves(moved["classifier_fused"]))


def test_every_group_moves_at_its_rate():
    # Adam on a constant gradient moves by exactly the learning rate.
    rule = {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.0}
    config = settings(optimizer=rule, reid={"backbone_learning_rate": 1e-3})
    optimizer, logged = reid_optimizer(config, EXAMPLES, GROUPS)
    found = [start := parameters(), *(params for params, _ in run(21, optimizer))]
    own = {"base_learning_rate": 0.01, "backbone_learning_rate": 1e-3}
    rates = group_rates(start, GROUPS, **own)
    schedule = ReidSchedule(0.01, epochs=6, warmup_epochs=2)
    for step, epoch in ((0, 1), (9, 1), (10, 2), (20, 3)):
        for path in (PATHS["rgb_reduce.bias"], PATHS["BACKBONE.base.ln_pre.bias"]):
            moved = at(found[step], path) - at(found[step + 1], path)
            expected = epoch_rate(at(rates, path), epoch, schedule)
            np.testing.assert_allclose(moved, expected, rtol=1e-3)
        assert float(logged(step)) == pytest.approx(epoch_rate(0.01, epoch, schedule))


def test_the_fused_branch_waits_and_starts_as_new():
    rule = {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.1}
    config = settings(optimizer=rule, reid={"direct_only_epochs": 0.3})  # 3 steps
    optimizer, _ = reid_optimizer(config, EXAMPLES, GROUPS)
    start = parameters()
    abstract = jax.eval_shape(optimizer.init, start)
    began = optimizer.init(start)
    assert jax.tree.structure(abstract) == jax.tree.structure(began)
    states = run(5, optimizer)
    later = lambda state: state[1].inner_states["later"].inner_state  # noqa: E731
    for params, state in states[:3]:
        for name in ("sdtps", "bottleneck_fused", "classifier_fused"):
            jax.tree.map(np.testing.assert_array_equal, params[name], start[name])
        jax.tree.map(
            np.testing.assert_array_equal,
            later(state).inner_state,
            later(began).inner_state,
        )
        assert (params["rgb_reduce"]["kernel"] < 1).all()
    # Adam's first step is a full one, from fresh moments, at the run's rate by then.
    moved = 1 - states[3][0]["classifier_fused"]["kernel"]
    schedule = ReidSchedule(0.01, epochs=6, warmup_epochs=2)
    np.testing.assert_allclose(moved, epoch_rate(0.01, 1, schedule), rtol=1e-3)
    assert int(later(states[4][1]).step) == 5


def test_clipping_leaves_the_frozen_out():
    rule = {"name": "momentum", "learning_rate": 1.0, "weight_decay": 0.0}
    config = settings(optimizer=rule, gradient_clip=1.0, reid={"freeze_backbone": True})
    optimizer, logged = reid_optimizer(config, EXAMPLES, GROUPS)
    params, _ = run(1, optimizer)[0]
    start = parameters()
    kept = [
        leaf
        for name in start
        if name != "backbone"
        for leaf in jax.tree.leaves(start[name])
    ]
    count = sum(leaf.size for leaf in kept) - 4  # the necks' biases
    moved = start["cv_embed"] - params["cv_embed"]
    np.testing.assert_allclose(moved, float(logged(0)) / count**0.5, rtol=1e-4)
