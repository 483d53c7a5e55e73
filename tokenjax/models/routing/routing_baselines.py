"""Attention-guided routing's control group: every patch to one network.

    full_compute    to the big one
    cheap_compute   to the small one
    no_routing      to the small one, without an attention head

All three have the encoder. Nothing reads its features, unless the aggregator weighs by
score; jit leaves them out at inference, while `aux` counts their FLOPs.

Source: the Vision Attention Routing Framework.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from tokenjax.models import contract
from tokenjax.models.routing.attention_routing import AttentionRouting, Parts
from tokenjax.models.routing.routers import Routed


class FullCompute(AttentionRouting):
    """AttentionRouting with a mask of 1 everywhere; the router's arguments idle."""

    routed_share = 1.0

    def networks(self) -> tuple[str, ...]:
        """Return the one network there is."""
        return ("big",) if self.routed_share else ("small",)

    def decide(
        self, scores: jax.Array, train: bool, temperature: ArrayLike | None
    ) -> Routed:
        """Send all alike."""
        del train, temperature
        mask = jnp.full_like(scores, self.routed_share)
        return Routed(mask, mask, jnp.asarray(1 - self.routed_share))

    def learned_arguments(self) -> Mapping[str, contract.Learned]:
        """Return nothing: there is no router."""
        return {}

    def budget_loss(self, mask: jax.Array, target: ArrayLike) -> jax.Array:
        """Return 0: there is nothing to hold to a budget."""
        del mask, target
        return jnp.zeros(())

    def runs_both(self, train: bool) -> bool:
        """Return False: one network runs."""
        del train
        return False

    def embed(
        self, parts: Parts, patches: jax.Array, mask: jax.Array, train: bool
    ) -> jax.Array:
        """Embed patches (b, n, pixels) by the one network: (b, n, d)."""
        del mask
        network = parts.big if self.routed_share else parts.small
        return network(patches, train)


class CheapCompute(FullCompute):
    """AttentionRouting with a mask of 0 everywhere."""

    routed_share = 0.0


class NoRouting(CheapCompute):
    """CheapCompute with scores of 0, for there is no head."""

    def score(self, parts: Parts, features: jax.Array) -> jax.Array:
        """Return zeros (b, n) for features (b, h, w, c)."""
        del parts
        return jnp.zeros((len(features), self.patch_grid**2))

    def head_flops(self, parts: Parts) -> int:
        """Return 0: there is none."""
        del parts
        return 0
