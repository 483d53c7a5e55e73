"""Routers: from a score per patch to a mask, 1 for the big network, 0 for the small.

    learnable_threshold   1[a >= theta], gradient of sigmoid((a - theta) / tau)
    sigmoid_gate          1[sigmoid(w a + b) >= 1/2], gradient of that sigmoid
    gumbel                a draw with probability a in training; at inference "hard"
                          (a > 1/2), "top_p" (the 30 % highest) or "expectation" (a
                          itself: both networks on every patch)
    top_k                 the ceil(budget N) highest, gradient of
                          sigmoid((a - k-th score) / tau); ours

Forward hard, backward soft (`tokenjax.ops.straight_through`). Of equal scores the
earlier patch is the higher.

Source: the Vision Attention Routing Framework; its later version for "gumbel".
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from tokenjax.ops.straight_through import (
    gumbel_gate,
    straight_through,
    threshold_gate,
)
from tokenjax.ops.token_selection import keep_mask, top_indices

ROUTERS = ("learnable_threshold", "sigmoid_gate", "gumbel", "top_k")
GUMBEL_INFERENCE = ("hard", "top_p", "expectation")
TOP_P = 0.3  # share of the patches that "top_p" sends to the big network
LEAST_PROBABILITY = 1e-6  # scores are kept this far from 0 and 1 under the logarithm


class Routed(NamedTuple):
    """What a router decides.

    Attributes:
      mask: (b, n), 0 or 1 (between them for "expectation").
      probability: (b, n), the soft decision.
      threshold: (), the score from which patches are sent.
    """

    mask: jax.Array
    probability: jax.Array
    threshold: jax.Array


class Router(nn.Module):
    """scores (b, n) in (0, 1) -> Routed. Arguments as in AttentionRouting."""

    kind: str
    threshold: float
    temperature: float
    budget: float
    gumbel_inference: str

    @nn.compact
    def __call__(
        self, scores: jax.Array, train: bool, temperature: ArrayLike | None = None
    ) -> Routed:
        temperature = self.temperature if temperature is None else temperature
        if self.kind == "learnable_threshold":
            start = nn.initializers.constant(self.threshold)
            threshold = self.param("threshold", start, ())
            mask = threshold_gate(scores, threshold, temperature)
            soft = jax.nn.sigmoid((scores - threshold) / temperature)
            return Routed(mask, soft, threshold)
        if self.kind == "sigmoid_gate":
            return self._sigmoid_gate(scores)
        if self.kind == "gumbel":
            return self._gumbel(scores, train, temperature)
        return self._top_k(scores, temperature)

    def _sigmoid_gate(self, scores: jax.Array) -> Routed:
        weight_start = nn.initializers.constant(1 / self.temperature)
        bias_start = nn.initializers.constant(-self.threshold / self.temperature)
        weight = self.param("weight", weight_start, ())
        bias = self.param("bias", bias_start, ())
        logits = weight * scores + bias
        return Routed(threshold_gate(logits, 0.0), nn.sigmoid(logits), -bias / weight)

    def _gumbel(self, scores: jax.Array, train: bool, temperature: ArrayLike) -> Routed:
        half = jnp.asarray(0.5, scores.dtype)
        if not train and self.gumbel_inference == "expectation":
            return Routed(scores, scores, half)
        if not train and self.gumbel_inference == "top_p":
            return self._highest(scores, TOP_P, temperature)
        kept = jnp.clip(scores, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        logits = jnp.log(kept) - jnp.log1p(-kept)
        uniforms = None
        if train:
            uniforms = jax.random.uniform(self.make_rng("gumbel"), scores.shape)
        return Routed(gumbel_gate(logits, uniforms, temperature), scores, half)

    def _top_k(self, scores: jax.Array, temperature: ArrayLike) -> Routed:
        return self._highest(scores, self.budget, temperature)

    def _highest(
        self, scores: jax.Array, share: float, temperature: ArrayLike
    ) -> Routed:
        """The ceil(share n) highest of every image."""
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
