"""What settings choose by name: all of it works, and more can be added."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax.errors import UserError
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.schedule import make_schedule
from tokenjax.training.settings import Optimizer, Schedule, Settings
from tokenjax.training.settings.choices import OPTIMIZERS, SCHEDULES, TASKS
from tokenjax.training.tasks import Task

EXAMPLES = 640  # 10 steps an epoch
PARAMS = {
    "dense": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)},
    "last": {"kernel": jnp.ones((4, 2))},
}


@pytest.fixture
def own_names(monkeypatch):
    """Names that are registered here are forgotten afterwards."""
    for registry in (OPTIMIZERS, SCHEDULES, TASKS):
        monkeypatch.setattr(registry, "_things", dict(registry._things))


def rates(name):
    schedule = Schedule(name=name, step_epochs=3.0, milestones=(4.0, 8.0))
    curve = make_schedule(Settings(epochs=10.0, schedule=schedule), EXAMPLES)
    return np.array([float(curve(step)) for step in range(100)])


def test_every_schedule_is_one_of_its_own():
    curves = {name: rates(name) for name in SCHEDULES}
    assert {"cosine", "step", "multistep", "constant", "plateau"} <= set(curves)
    # By steps alone plateau stands still; evaluations let it fall (test_plateau.py).
    assert np.array_equal(curves.pop("plateau"), curves["constant"])
    for name, curve in curves.items():
        assert curve[0] == pytest.approx(1e-3), name
        assert np.isfinite(curve).all(), name
        others = [other for key, other in curves.items() if key != name]
        assert not any(np.array_equal(curve, other) for other in others), name


def stepped(name, groups):
    rule = dataclasses.replace(Optimizer(), name=name, weight_decay=0.5)
    settings = Settings(optimizer=rule)
    optimizer = make_optimizer(settings, optax.constant_schedule(0.1), groups)
    state, params = optimizer.init(PARAMS), PARAMS
    for scale in (1.0, -2.0):
        gradients = {
            "dense": {"kernel": scale * jnp.eye(4), "bias": scale * jnp.ones(4)},
            "last": {"kernel": scale * jnp.eye(4)[:, :2]},
        }
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_every_update_rule_is_one_of_its_own():
    found = {name: stepped(name, {})["dense"]["kernel"] for name in OPTIMIZERS}
    assert {"adamw", "adam", "sgd", "momentum", "muon"} <= set(found)
    for name, kernel in found.items():
        others = [other for key, other in found.items() if key != name]
        assert not any(np.allclose(kernel, other) for other in others), name


def test_muon_leaves_the_head_to_adam():
    without = stepped("muon", {})
    headed = stepped("muon", {"head": ("last/**",)})
    np.testing.assert_array_equal(without["dense"]["kernel"], headed["dense"]["kernel"])
    assert not np.allclose(without["last"]["kernel"], headed["last"]["kernel"])
    with pytest.raises(UserError, match="no parameter fits"):
        stepped("muon", {"head": ("lost/**",)})


def test_one_can_be_added(own_names):
    @SCHEDULES.register("falling")
    def falling(course):
        return lambda step: course.top / (1 + step)

    @OPTIMIZERS.register("signs")
    def signs(rule, schedule, groups):
        return [optax.scale_by_sign(), optax.scale_by_learning_rate(schedule)]

    np.testing.assert_allclose(rates("falling")[:3], [1e-3, 5e-4, 1e-3 / 3])
    expected = 1 - 0.1 + 0.1  # of the diagonal: down, then up
    assert stepped("signs", {})["dense"]["bias"][0] == pytest.approx(expected)


def test_what_nobody_registered_is_refused():
    with pytest.raises(UserError, match=r"schedule 'cosin', did you mean 'cosine'"):
        rates("cosin")
    with pytest.raises(
        UserError, match=r"optimizer 'momentun', did you mean 'momentum'"
    ):
        stepped("momentun", {})


def test_every_task_says_what_is_best():
    assert {"classification", "pruning", "routing", "reid"} <= set(TASKS)
    for name, task in TASKS.items():
        assert issubclass(task, Task), name
        assert task.best_metric in ("top1", "mAP"), name
