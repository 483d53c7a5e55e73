"""ToFu: similar tokens go, first by being dropped, in the later blocks by merging.

Between attention and MLP, planned as ToMe. A block with n tokens, the protected
counted, removes floor(n - n ratio) of them, at most as many as one matching can. Up to
block depth // 2 those that would merge are dropped; after it they merge into

    y = m max_u |x_u| / |x|        m the plain mean of the group, x its receiver

so that the norm does not shrink as a mean's does. The published program divides by |x|,
so y has |m| / |x| of the group's largest norm; `norm="kept"` divides by |m|.

Nothing is trained, and attention knows of no sizes. Maps show a dropped token at the
receiver that it would have had.

Source: Kim et al. 2024 (arXiv 2312.01026), as in hchautran/PiToMe.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from tokenjax.arguments import Range
from tokenjax.models.attention import Seen, Wanted
from tokenjax.models.reduction import schedules
from tokenjax.models.reduction.reducer import EncoderFacts, Place, Reducer
from tokenjax.models.reduction.token_set import Reduction, TokenSet, merge_set
from tokenjax.ops import bipartite_matching, token_merging, token_selection
from tokenjax.ops.token_merging import MergePlan


class ToFu(Reducer):
    """Drops, then merges the most similar tokens; see the module."""

    ratio: Annotated[
        float, Range(0.5, 1), "share of the tokens that each block leaves"
    ] = 0.9
    norm: Annotated[
        Literal["recorded", "kept"],
        "of a merged token: as published, or the largest of its group",
    ] = "recorded"

    def wants(self) -> tuple[Wanted, ...]:
        """Return the keys."""
        return ("keys",)

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, int]:
        """Return how many go in each block in which any does."""
        found, left = {}, encoder.tokens
        for block in range(encoder.depth):
            most = bipartite_matching.most_merged(left, encoder.protected)
            count = min(schedules.remove_for_ratio(self.ratio, left), most)
            if count:
                found[block] = count
            left -= count
        return found

    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Drop or merge."""
        del train
        metric = seen.ask("keys").mean(axis=1)  # (b, n, d)
        protected = token_set.protected
        plan = bipartite_matching.match_halves(metric, place.amount, protected)
        if place.block <= place.encoder.depth // 2:
            tokens = token_selection.gather_tokens(token_set.tokens, plan.kept)
        else:
            tokens = merge_by_norm(plan, token_set.tokens, self.norm == "kept")
        left, step = merge_set(token_set, plan)
        return left.replace(tokens=tokens), Reduction(step)


def merge_by_norm(plan: MergePlan, tokens: jax.Array, kept: bool) -> jax.Array:
    """Give the mean of each group a larger norm: (b, n, c) -> (b, k, c).

    `kept`: the largest of the group; else as published, see the module.
    """
    mean, _ = token_merging.merge_tokens(plan, tokens.astype(jnp.float32), None)
    norms = _norm(tokens)  # (b, n, 1)
    receivers = token_selection.gather_tokens(norms, plan.kept)
    largest = token_merging.take_largest(plan, norms)
    scaled = mean * (largest / (_norm(mean) if kept else receivers))
    return scaled.astype(tokens.dtype)


def _norm(tokens: jax.Array) -> jax.Array:
    squared = jnp.square(tokens.astype(jnp.float32)).sum(axis=-1, keepdims=True)
    # a token of zeros would have no gradient
    return jnp.sqrt(jnp.maximum(squared, jnp.finfo(jnp.float32).tiny))
