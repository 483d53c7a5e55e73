"""Attention-guided routing: every patch to a big or to a small network.

A router of one's own: `register_router`, see `tokenjax.models.routing.routers`.
"""

from tokenjax.models.routing.attention_routing import AttentionRouting
from tokenjax.models.routing.routers import (
    ROUTERS,
    Routed,
    Router,
    register_router,
)
from tokenjax.models.routing.routing_baselines import (
    CheapCompute,
    FullCompute,
    NoRouting,
)

__all__ = [
    "ROUTERS",
    "AttentionRouting",
    "CheapCompute",
    "FullCompute",
    "NoRouting",
    "Routed",
    "Router",
    "register_router",
]
