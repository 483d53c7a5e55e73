"""What a temperature does to a gate, and what noise and a threshold do to draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax.models.routing.routers import ROUTERS

SCORES = np.random.default_rng(0).uniform(0.05, 0.95, (64, 25)).astype(np.float32)


@functools.partial(jax.jit, static_argnums=(0, 3))
def decide(router, variables, scores, train, temperature, key=0):
    """Return a decision, and the gradients of the mask's sum."""

    def total(variables, scores):
        rngs = {"gumbel": jax.random.key(key)}
        routed = router.apply(variables, scores, train, temperature, rngs=rngs)
        return routed.mask.sum(), routed

    return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(variables, scores)


def route(kind, variables, *, train=False, annealed=None, key=0, **arguments):
    """Return the mask, the probability, the threshold and the mask's gradients."""
    router = ROUTERS[kind](**arguments)
    tau = jnp.float32(annealed or router.temperature)
    (_, routed), gradients = decide(router, variables, SCORES, train, tau, key)
    return *(np.asarray(part) for part in routed), gradients


def gate(weight, bias, **more):
    params = {"weight": jnp.float32(weight), "bias": jnp.float32(bias)}
    return route("sigmoid_gate", {"params": params}, **more)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


@pytest.mark.parametrize("annealed", [None, 0.5, 4.0])
def test_a_gates_temperature_softens_its_gradient_and_moves_no_patch(annealed):
    """logit = 3 a - 1.2, started at temperature 0.8, under an annealed one."""
    mask, soft, threshold, gradients = gate(3, -1.2, temperature=0.8, annealed=annealed)
    scale = 0.8 / (annealed or 0.8)
    logits = 3 * SCORES.astype(np.float64) - 1.2
    np.testing.assert_array_equal(mask, logits >= 0)
    assert 0.2 < mask.mean() < 0.8
    np.testing.assert_allclose(threshold, 0.4, rtol=1e-6)
    np.testing.assert_allclose(soft, sigmoid(scale * logits), rtol=1e-5)
    slope = scale * soft * (1.0 - soft)  # of the soft decision by the logit
    (of_params, of_scores) = gradients
    np.testing.assert_allclose(of_scores, 3 * slope, rtol=1e-4)
    found = of_params["params"]
    np.testing.assert_allclose(found["bias"], slope.sum(), rtol=1e-4)
    np.testing.assert_allclose(found["weight"], (slope * SCORES).sum(), rtol=1e-4)
