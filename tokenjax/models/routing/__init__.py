"""Attention-guided routing: every patch to a big or to a small network."""

from tokenjax.models.routing.attention_routing import AttentionRouting
from tokenjax.models.routing.routing_baselines import (
    CheapCompute,
    FullCompute,
    NoRouting,
)

__all__ = ["AttentionRouting", "CheapCompute", "FullCompute", "NoRouting"]
