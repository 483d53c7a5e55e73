"""Routers: from a score per patch to a mask, 1 for the big network, 0 for the small.

    learnable_threshold   1[a >= theta], gradient of sigmoid((a - theta) / tau)
    sigmoid_gate          1[sigmoid(w a + b) >= 1/2], gradient of
                          sigmoid((w a + b) tau_0 / tau); w, b start at 1 / tau_0 and
                          -theta_0 / tau_0
    gumbel                a draw with probability p in training; at inference "hard"
                          (p > 1/2), "top_p" (the 30 % highest) or "expectation" (p
                          itself: both networks on every patch); p = a as specified, a
                          steeper function with less noise or a learned threshold
    top_k                 the ceil(budget N) highest, gradient of
                          sigmoid((a - k-th score) / tau); ours

Forward hard, backward soft (`tokenjax.ops.straight_through`). Of equal scores the
earlier patch is the higher (`tokenjax.ops.token_selection`).

One of your own is a class with one method, registered under a name that models then
take as `router`:

    class AboveMean(Router):
        def __call__(self, scores, train, temperature):
            mean = scores.mean(axis=1, keepdims=True)
            soft = nn.sigmoid((scores - mean) / temperature)
            hard = (scores >= mean).astype(scores.dtype)
            return Routed(straight_through(hard, soft), soft, mean.mean())

    register_router("above_mean", AboveMean)

Parameters go as in any Flax module: write @nn.compact above the method. If an argument
only says where they start, the method `learned` says what stands for it.

Source: the Vision Attention Routing Framework; its later version for "gumbel".
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from tokenjax.errors import UserError
from tokenjax.models.contract import Learned
from tokenjax.ops.straight_through import (
    gumbel_gate,
    straight_through,
    threshold_gate,
)
from tokenjax.ops.token_selection import keep_mask, top_indices
from tokenjax.registry import Registry

GumbelInference = Literal["hard", "top_p", "expectation"]
GumbelThreshold = Literal["half", "learned"]
TOP_P = 0.3  # share of the patches that "top_p" sends to the big network
LEAST_PROBABILITY = 1e-6  # scores are kept this far from 0 and 1 under the logarithm


class Routed(NamedTuple):
    """A router's decision.

    Attributes:
      mask: (b, n), 0 or 1 (between them if the router `is_soft`).
      probability: (b, n), the soft decision.
      threshold: (), the score from which patches are sent.
    """

    mask: jax.Array
    probability: jax.Array
    threshold: jax.Array


class Router(nn.Module):
    """Base of the routers; they read of these arguments what they need.

    Attributes:
      threshold: where a learned threshold starts.
      temperature: of the soft decision, where it starts.
      budget: share of the patches to send.
      gumbel_inference: see the module's docstring.
      gumbel_noise, gumbel_threshold: see `Gumbel`.
    """

    threshold: float = 0.5
    temperature: float = 1.0
    budget: float = 0.25
    gumbel_inference: GumbelInference = "hard"
    gumbel_noise: float = 1.0
    gumbel_threshold: GumbelThreshold = "half"

    @property
    def is_soft(self) -> bool:
        """Return whether inference's mask lies between 0 and 1: both networks run."""
        return False

    def learned(self) -> Mapping[str, Learned]:
        """Return what stands for arguments that only say where parameters start.

        By the argument's name; the variables are the router's own parameters.
        """
        return {}

    def __call__(
        self, scores: jax.Array, train: bool, temperature: ArrayLike
    ) -> Routed:
        """Decide: scores (b, n) in (0, 1), and the temperature of this step."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it routes")


ROUTERS: Registry[type[Router]] = Registry("router")


def register_router(name: str, router: type[Router]) -> None:
    """Add a router of one's own: see the module's docstring.

    Raises: UserError for a name that another router has, or for what is no router.
    """
    if not (isinstance(router, type) and issubclass(router, Router)):
        raise UserError(
            f"router {name!r} must be a class derived from "
            f"tokenjax.models.routing.Router, got {router!r}"
        )
    if router.__call__ is Router.__call__:
        raise UserError(f"router {name!r} must have a method __call__")
    ROUTERS.add(name, router)


@ROUTERS.register("learnable_threshold")
class LearnableThreshold(Router):
    """Send the scores from a learned threshold on."""

    def learned(self) -> Mapping[str, Learned]:
        """Return the threshold's parameter."""
        return {
            "threshold": Learned(
                "is set as the router's threshold",
                value=lambda own: own["threshold"],
                replace=lambda own, value: {**own, "threshold": value},
            )
        }

    @nn.compact
    def __call__(
        self, scores: jax.Array, train: bool, temperature: ArrayLike
    ) -> Routed:
        """Decide."""
        del train
        start = nn.initializers.constant(self.threshold)
        threshold = self.param("threshold", start, ())
        mask = threshold_gate(scores, threshold, temperature)
        soft = jax.nn.sigmoid((scores - threshold) / temperature)
        return Routed(mask, soft, threshold)


@ROUTERS.register("sigmoid_gate")
class SigmoidGate(Router):
    """Send by a learned line, whose slope is a temperature of its own.

    The slope starts at 1 over the model's temperature tau_0, as specified. A
    temperature tau that training anneals multiplies the slope of the soft decision, in
    the gradient and in `probability`, by tau_0 / tau: at tau = tau_0, so wherever
    nothing is annealed and at inference, it is the specified formula. Which patches are
    sent depends on the sign of the line alone, whatever the temperature.
    """

    def learned(self) -> Mapping[str, Learned]:
        """Return the score at which the line w a + b is 0."""
        return {
            "threshold": Learned(
                "is made the score where w a + b is 0, by another b",
                value=lambda own: -own["bias"] / own["weight"],
                replace=lambda own, value: {**own, "bias": -own["weight"] * value},
            )
        }

    @nn.compact
    def __call__(
        self, scores: jax.Array, train: bool, temperature: ArrayLike
    ) -> Routed:
        """Decide."""
        del train
        weight_start = nn.initializers.constant(1 / self.temperature)
        bias_start = nn.initializers.constant(-self.threshold / self.temperature)
        weight = self.param("weight", weight_start, ())
        bias = self.param("bias", bias_start, ())
        logits = weight * scores + bias
        softness = temperature / self.temperature  # 1 unless training anneals it
        mask = threshold_gate(logits, 0.0, softness)
        return Routed(mask, nn.sigmoid(logits / softness), -bias / weight)


@ROUTERS.register("gumbel")
class Gumbel(Router):
    """Draw in training by a probability that the score gives, decide at inference.

        sent = 1[log-odds(a) - log-odds(theta) + s g > 0],  g a standard logistic draw
        p = sigmoid((log-odds(a) - log-odds(theta)) / s)

    As specified theta is 1/2 and s is 1. The standard deviation of s g is then 1.8,
    and scores that differ by a tenth (0.4 in log-odds) are drawn nearly alike: the
    networks see patches at random; the ratio can be near 1 where all scores are near 1
    alone; and at inference, which compares a with 1/2, few patches are sent where a
    quarter was drawn. A small s and a learned theta, together, mend this
    (docs/results.md).
    """

    @property
    def is_soft(self) -> bool:
        """Return whether both networks run: "expectation" mixes them by p."""
        return self.gumbel_inference == "expectation"

    def learned(self) -> Mapping[str, Learned]:
        """Return the threshold, where it is learned: its log-odds are."""
        if self.gumbel_threshold == "half":
            return {}
        return {
            "threshold": Learned(
                "is set as the router's threshold, by its log-odds",
                value=lambda own: float(nn.sigmoid(own["log_odds"])),
                replace=lambda own, value: {**own, "log_odds": log_odds(value)},
            )
        }

    @nn.compact
    def __call__(
        self, scores: jax.Array, train: bool, temperature: ArrayLike
    ) -> Routed:
        """Decide."""
        logits = log_odds(scores)
        threshold = jnp.asarray(0.5, scores.dtype)
        specified = self.gumbel_threshold == "half"
        if not specified:
            start = nn.initializers.constant(log_odds(self.threshold))
            learned = self.param("log_odds", start, ())
            logits, threshold = logits - learned, nn.sigmoid(learned)
        if not train and self.gumbel_inference == "top_p":
            return send_highest(scores, TOP_P, temperature)
        if specified and self.gumbel_noise == 1:
            probability = scores
        elif self.gumbel_noise == 0:
            probability = (logits > 0).astype(scores.dtype)
        else:
            probability = nn.sigmoid(logits / self.gumbel_noise)
        if not train and self.gumbel_inference == "expectation":
            return Routed(probability, probability, threshold)
        uniforms = None
        if train:
            uniforms = jax.random.uniform(self.make_rng("gumbel"), scores.shape)
        mask = gumbel_gate(logits, uniforms, temperature, self.gumbel_noise)
        return Routed(mask, probability, threshold)


def log_odds(share: ArrayLike) -> jax.Array:
    """Return log(share / (1 - share)); shares of 0 and 1 count as nearly so."""
    kept = jnp.clip(jnp.asarray(share), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return jnp.log(kept) - jnp.log1p(-kept)


@ROUTERS.register("top_k")
class TopK(Router):
    """Send the share `budget` of every image."""

    def __call__(
        self, scores: jax.Array, train: bool, temperature: ArrayLike
    ) -> Routed:
        """Decide."""
        del train
        return send_highest(scores, self.budget, temperature)


def send_highest(scores: jax.Array, share: float, temperature: ArrayLike) -> Routed:
    """Send the ceil(share n) highest scores of every image."""
    num_patches = scores.shape[1]
    count = math.ceil(round(share * num_patches, 6))  # 0.28 * 25 is above 7
    if count == 0:
        none = jnp.zeros_like(scores)
        return Routed(none, none, scores.max())
    indices = top_indices(jax.lax.stop_gradient(scores), count)  # (b, k)
    hard = keep_mask(indices, num_patches).astype(scores.dtype)
    lowest = jnp.min(jnp.where(hard > 0, scores, jnp.inf), axis=1, keepdims=True)
    soft = nn.sigmoid((scores - lowest) / temperature)
    return Routed(straight_through(hard, soft), soft, lowest.mean())
