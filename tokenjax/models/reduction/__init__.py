"""Reducers: after some block, tokens in, fewer tokens out.

A reducer is a module `(TokenSet, train) -> (TokenSet, Reduction)` that a transformer
calls between two blocks. It either removes tokens (gathered: static shapes, time is
saved) or marks them (masked: shapes stay, gradients flow through the marks).
"""

from tokenjax.models.reduction.predictors import LinearPredictor, LocalGlobalPredictor
from tokenjax.models.reduction.prune import PruneTokens
from tokenjax.models.reduction.token_set import Reduction, TokenSet

__all__ = [
    "LinearPredictor",
    "LocalGlobalPredictor",
    "PruneTokens",
    "Reduction",
    "TokenSet",
]
