"""Weights to measure with: of the right distribution, and nothing compiled for them."""

import flax.linen as nn
import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small_models import DEMO, SMALL

from tokenjax import jax_events, models
from tokenjax.benchmark import inputs, weights


def uniform(key, shape):
    return jax.random.uniform(key, shape, minval=2.0, maxval=5.0)


def ramp(key, shape):
    steps = jnp.arange(1.0, shape[0] + 1)
    return jnp.log(steps)[:, None] * jnp.ones(shape)


def orthogonal(key, shape):
    return nn.initializers.orthogonal()(key, shape)


class Drawn(nn.Module):
    """Parameters by every kind of rule, and statistics of a batch."""

    @nn.compact
    def __call__(self, x):
        side = x.shape[-1]
        for name, rule in (
            ("normal", nn.initializers.normal(0.25)),
            ("truncated", nn.initializers.lecun_normal()),
            ("uniform", uniform),
            ("ramp", ramp),
            ("orthogonal", orthogonal),
            ("pi", nn.initializers.constant(3.14)),
        ):
            self.param(name, rule, (side, side))
        self.param("half", nn.initializers.normal(1.0, jnp.bfloat16), (side,))
        return nn.BatchNorm(use_running_average=True)(x)


def test_each_is_as_init_draws_it():
    """By other numbers: mean and spread agree, and what is not drawn is the same."""
    x = np.zeros((1, 200), np.float32)
    own = jax.jit(Drawn().init)(jax.random.key(3), x)
    made = weights.initialize(Drawn(), x)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, own)
    assert jax.tree.map(jnp.result_type, made) == jax.tree.map(jnp.result_type, own)
    for name in ("normal", "truncated", "uniform", "orthogonal"):
        a, b = (np.asarray(tree["params"][name]) for tree in (made, own))
        assert np.any(a != b)
        assert abs(a.mean() - b.mean()) < 0.03 * b.std()
        assert a.std() == pytest.approx(b.std(), rel=0.02)
        # Of each 40,000: also the shape, and for two of them the bounds.
        shares = (0.01, 0.1, 0.25, 0.75, 0.9, 0.99)
        found, due = np.quantile(a, shares), np.quantile(b, shares)
        np.testing.assert_allclose(found, due, atol=0.06 * b.std(), err_msg=name)
        if name in ("truncated", "uniform"):
            assert a.max() == pytest.approx(b.max(), rel=0.01)
    product = made["params"]["orthogonal"] @ made["params"]["orthogonal"].T
    np.testing.assert_allclose(product, np.eye(200), atol=1e-4)
    for name in ("ramp", "pi"):
        np.testing.assert_allclose(
            made["params"][name], own["params"][name], rtol=1e-6, err_msg=name
        )
    assert np.all(made["batch_stats"]["BatchNorm_0"]["var"] == 1)
    assert np.all(made["params"]["BatchNorm_0"]["bias"] == 0)


@pytest.mark.parametrize("name", ["demo", "vdpa", "attention_routing", "vmamba_tiny"])
def test_nothing_is_compiled_for_a_network_of_ours(name):
    """Neither for its weights nor for its inputs, which a GPU would compile apart."""
    module = models.create(name, **(DEMO if name == "demo" else SMALL[name]))
    compiled = []

    def listen(event, duration_secs, **details):
        if event == jax_events.COMPILE:
            compiled.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        images = inputs.distinct_inputs(module, 2, count=1)[0]
        variables = weights.initialize(module, *images)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    if name != "demo":  # whose camera ids are made by it, one small array
        assert compiled == []
    assert not [each for each in compiled if "init" in each or "normal" in each]
    shapes = jax.eval_shape(module.init, jax.random.key(0), *images)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
