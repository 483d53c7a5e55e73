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


def draw(noise, way="hard", **more):
    return route("gumbel", {}, gumbel_noise=noise, gumbel_inference=way, **more)


def log_odds(scores):
    return np.log(np.float64(scores) / (1 - np.float64(scores)))


@pytest.mark.parametrize("noise", [0.25, 1.0, 3.0])
def test_patches_are_drawn_as_often_as_their_probability_says(noise):
    masks = [draw(noise, train=True, key=key)[0] for key in range(300)]
    _, probability, threshold, _ = draw(noise, train=True)
    np.testing.assert_allclose(probability, sigmoid(log_odds(SCORES) / noise), 1e-4)
    assert threshold == 0.5
    error = np.mean(masks, axis=0) - probability  # of 1600 patches
    spread = np.sqrt(probability * (1 - probability) / len(masks))
    assert np.all(np.abs(error) <= 5 * spread + 0.01)
    assert abs(error.mean()) < 0.005  # the ratio that a budget is held to


def test_at_noise_1_the_probability_is_the_score_to_the_bit():
    np.testing.assert_array_equal(draw(1.0, train=True)[1], SCORES)


@pytest.mark.parametrize("noise", [0.0, 0.25, 1.0])
def test_draws_have_the_gradient_of_a_soft_draw(noise):
    """Whatever was drawn: noisy = log-odds + s g, soft = sigmoid(noisy / tau)."""
    tau = 0.7
    mask, _, _, (_, gradient) = draw(noise, train=True, annealed=tau)
    uniforms = np.asarray(drawn_uniforms(jax.random.key(0)), np.float64)
    noisy = log_odds(SCORES) + noise * log_odds(uniforms)
    np.testing.assert_array_equal(mask, noisy > 0)
    soft = sigmoid(noisy / tau)
    slope = soft * (1 - soft) / tau / (SCORES * (1 - np.float64(SCORES)))
    np.testing.assert_allclose(gradient, slope, rtol=2e-3, atol=1e-5)
    assert slope.min() > 0


def drawn_uniforms(key):
    """Return the draws that the router makes of this key."""

    class Draws(ROUTERS["gumbel"]):
        def __call__(self):
            return jax.random.uniform(self.make_rng("gumbel"), SCORES.shape)

    return Draws().apply({}, rngs={"gumbel": key})


def test_less_noise_brings_training_nearer_to_inference():
    """Inference sends what is above a half; without noise training does the same."""
    decided = draw(1.0)[0]
    np.testing.assert_array_equal(decided, SCORES > 0.5)
    differing = []
    for noise in (0.0, 0.25, 1.0):
        np.testing.assert_array_equal(draw(noise)[0], decided)
        drawn = draw(noise, train=True)[0]
        differing.append((drawn != decided).mean())
    assert differing[0] == 0
    assert 0.02 < differing[1] < differing[2] / 2


@pytest.mark.parametrize("noise", [0.0, 0.25, 1.0])
def test_expectation_mixes_by_the_probability_of_training(noise):
    mixed = draw(noise, "expectation")[0]
    np.testing.assert_allclose(mixed, draw(noise, train=True)[1], rtol=1e-5)
    if noise == 0:
        np.testing.assert_array_equal(mixed, SCORES > 0.5)


@pytest.mark.parametrize("theta", [0.3, 0.5, 0.8])
def test_a_learned_threshold_moves_draws_and_decisions_alike(theta):
    """log-odds(a) are held against log-odds(theta), in training and at inference."""
    learned = {"gumbel_threshold": "learned", "threshold": theta}
    router = ROUTERS["gumbel"](**learned, gumbel_noise=0.25)
    params = router.init(jax.random.key(0), SCORES, False, 1.0)
    assert set(params["params"]) == {"log_odds"}
    np.testing.assert_allclose(params["params"]["log_odds"], log_odds(theta), atol=1e-6)
    logits = log_odds(SCORES) - log_odds(theta)

    decided, soft, threshold, _ = draw_learned(params, **learned)
    np.testing.assert_array_equal(decided, theta < SCORES)
    np.testing.assert_allclose(threshold, theta, rtol=1e-5)
    np.testing.assert_allclose(soft, sigmoid(logits / 0.25), rtol=1e-3, atol=1e-6)

    _, same, _, (of_params, _) = draw_learned(params, train=True, **learned)
    np.testing.assert_array_equal(soft, same)
    uniforms = np.asarray(drawn_uniforms(jax.random.key(0)), np.float64)
    drawn = sigmoid(logits + 0.25 * log_odds(uniforms))
    expected = -(drawn * (1 - drawn)).sum()
    np.testing.assert_allclose(of_params["params"]["log_odds"], expected, rtol=1e-4)


def draw_learned(params, **more):
    return route("gumbel", params, gumbel_noise=0.25, **more)


def test_draws_of_untrained_scores_follow_them_once_noise_is_small():
    """Scores 0.45 to 0.55: log-odds of -0.2 to 0.2 beside noise of 1.8 s."""
    scores = np.linspace(0.45, 0.55, 20_000, dtype=np.float32)[None]
    above = scores[0] > 0.5
    ahead = {}
    for noise in (1.0, 0.1):
        router = ROUTERS["gumbel"](gumbel_noise=noise)
        rngs = {"gumbel": jax.random.key(0)}
        mask = router.apply({}, scores, True, 1.0, rngs=rngs).mask[0]
        ahead[noise] = mask[above].mean() - mask[~above].mean()
        logits = log_odds(scores[0])
        expected = sigmoid(logits / noise)
        expected = expected[above].mean() - expected[~above].mean()
        assert ahead[noise] == pytest.approx(expected, abs=0.03)
    assert ahead[1.0] < 0.08  # a coin is tossed
    assert ahead[0.1] > 0.4
