"""Averaged parameters: their formula, early and late, cut or not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax.training.settings import Settings
from tokenjax.training.state import TrainState, make_train_step


class Slope:
    """A task whose gradient is 1 for "moving" and 0 for "still"."""

    def loss(self, state, batch, key):
        del batch, key
        return state.params["moving"] + 0 * state.params["still"], ({}, {})

    def gradient_scalars(self, gradients):
        del gradients
        return {}


def run(decay, steps, state=None):
    """Descend at rate 1 from 0: after step n the parameter is -n."""
    settings = Settings.from_config({"ema_decay": decay})
    optimizer = optax.sgd(1.0)
    schedule = optax.constant_schedule(1.0)
    step = jax.jit(make_train_step(Slope(), optimizer, schedule, settings))
    if state is None:
        params = {"moving": jnp.zeros(()), "still": jnp.asarray(0.1, jnp.float32)}
        copy = jax.tree.map(jnp.copy, params)
        count = jnp.zeros((), jnp.int32)
        state = TrainState(count, params, {}, optimizer.init(params), copy)
    for _ in range(steps):
        state, _ = step(state, {})
    return state


def expected(decay, steps):
    average = 0.0
    for step in range(steps):
        now = min(decay, (1 + step) / (10 + step))
        average = now * average + (1 - now) * -(step + 1)
    return average


@pytest.mark.parametrize("decay", [0.5, 0.999, 0.9999])
def test_averages_follow_the_formula(decay):
    for steps in (1, 2, 40):
        found = run(decay, steps).ema_params["moving"]
        assert found == pytest.approx(expected(decay, steps), rel=1e-5)


def test_a_short_run_does_not_keep_its_first_parameters():
    state = run(0.9999, 197)
    lag = (state.ema_params["moving"] - state.params["moving"]) / 197
    assert 0 < lag < 0.15  # the decay alone would leave it at 0.98


def test_after_the_start_it_is_the_decay_alone():
    before = run(0.5, 20)
    after = run(0.5, 1, before)
    expected = 0.5 * before.ema_params["moving"] + 0.5 * after.params["moving"]
    assert after.ema_params["moving"] == pytest.approx(float(expected))


def test_cut_and_resumed_is_the_same_bit_for_bit():
    whole, resumed = run(0.999, 30), run(0.999, 23, run(0.999, 7))
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)


def test_what_stands_still_is_its_own_average():
    assert run(0.999, 50).ema_params["still"] == np.float32(0.1)
