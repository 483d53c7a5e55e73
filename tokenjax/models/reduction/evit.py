"""Top-K and EViT: the patches that the class token attends to most stay.

    alpha_j = mean over heads of the class token's attention to patch j
    Top-K      [protected, the k patches of largest alpha, best first]
    EViT       the same, and one token more, the sum of alpha_j x_j over the others

Between attention and MLP. The weights of the sum are alpha as they are, so they add up
to less than 1, and the gradient goes through them; the choice has none. The fused token
is a patch like any other from then on. Where k is what is found nothing happens, and no
token is fused.

    keep_rate alone              k = ceil(rate patches found), at blocks whose rate is
                                 below 1; one number is the rate of the blocks at the
                                 quarters of the depth: 3, 6 and 9 of 12
    keep_rate, reduction_loc     k = int(rate patches of the image), TokenReduction's

Masked execution takes none away and lets nobody see those that are gone; the fused
token takes the place of one of them. It serves any k, so also a rate that changes from
step to step, as EViT is trained: see `models.reduction.scheduled`.

Source: Liang et al. 2022 (arXiv 2202.07800), youweiliang/evit; Haurum et al. 2023
(arXiv 2308.04657), JoakimHaurum/TokenReduction. In both a distillation token is a
patch, may be dropped, and the distilled head then fails; here it is protected, as
registers are.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from tokenjax.arguments import COUNT
from tokenjax.models.argument_types import PART, Execution
from tokenjax.models.attention import Seen, Wanted
from tokenjax.models.reduction import schedules
from tokenjax.models.reduction.reducer import EncoderFacts, Place, Reducer
from tokenjax.models.reduction.scheduled import read_scheduled
from tokenjax.models.reduction.token_set import (
    Reduction,
    TokenSet,
    fuse_patches,
    mark_fused,
    mark_patches,
    merge_set,
    select_patches,
)
from tokenjax.ops import token_merging, token_selection

# What a product of 32 bits may lie above a whole number that it stands for.
_ROUNDING = 1e-4


class TopK(Reducer):
    """Drops the patches that the class token attends to least; see the module."""

    keep_rate: Annotated[
        float | tuple[float, ...],
        PART,
        "share of the patches that stays: of those found, by block, or one number for"
        " the blocks at the quarters of the depth; with reduction_loc: of the image's,"
        " one number for its powers",
    ] = 0.7
    reduction_loc: Annotated[
        tuple[int, ...] | None, COUNT, "the blocks that keep_rate is for, from 0"
    ] = None
    execution: Annotated[
        Execution, "compute what is left alone, or everything under a mask"
    ] = "gathered"
    needs_class_token: ClassVar[bool] = True

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return schedules.place_problems(self.reduction_loc)

    def wants(self) -> tuple[Wanted, ...]:
        """Return the class token's attention."""
        return ("class_attention",)

    def marks(self) -> bool:
        """Return whether what is gone is only marked."""
        return self.execution == "masked"

    def fuses(self) -> bool:
        """Return whether what goes becomes one token."""
        return False

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, float | int]:
        """Return what stays in each block: a share of those found, or a number."""
        if self.reduction_loc is None:
            return self._rates(encoder.depth)
        places = self.reduction_loc
        rates = schedules.rates_at_places(self.keep_rate, len(places))
        counts = [schedules.keep_of_image(rate, encoder.patches) for rate in rates]
        return dict(zip(places, counts, strict=True))

    def kept_shares(self, encoder: EncoderFacts) -> Mapping[int, float]:
        """Return the shares of what is found, which training may change."""
        amounts = self.amounts(encoder)
        return {
            block: share for block, share in amounts.items() if isinstance(share, float)
        }

    def _rates(self, depth: int) -> dict[int, float]:
        """Return the shares below 1 by block."""
        if isinstance(self.keep_rate, float):
            blocks = schedules.quarter_blocks(depth)
            rates = dict.fromkeys(blocks, self.keep_rate)
        else:
            listed = schedules.rates_of_blocks(self.keep_rate, depth)
            rates = dict(enumerate(listed))
        return {block: rate for block, rate in rates.items() if rate < 1}

    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Keep the best; see the module."""
        lead = token_set.protected
        scores = seen.ask("class_attention")[:, :, lead:].mean(axis=1)  # (b, m)
        rate = None
        if train and isinstance(place.amount, float):
            rate = read_scheduled(self, "keep_rate", place.amount)
        if rate is None and self.execution == "gathered":
            left, step = self._gather(token_set, scores, place.amount)
        else:
            left, step = self._mark(token_set, scores, place.amount, rate)
        return left, Reduction(step, scores)

    def _gather(
        self, token_set: TokenSet, scores: jax.Array, amount: float | int
    ) -> tuple[TokenSet, jax.Array]:
        """Remove all but the best."""
        found = scores.shape[1]
        count = _count(amount, found)
        if count == found:
            plan = token_merging.keep_all(*token_set.tokens.shape[:2])
            return merge_set(token_set, plan)
        ranked = jax.lax.stop_gradient(scores)
        if self.fuses():
            order = token_selection.rank_tokens(ranked, found)
            return fuse_patches(token_set, order, count, scores)
        return select_patches(token_set, token_selection.rank_tokens(ranked, count))

    def _mark(
        self,
        token_set: TokenSet,
        scores: jax.Array,
        amount: float | int,
        rate: jax.Array | None,
    ) -> tuple[TokenSet, jax.Array]:
        """Mark all but the best as gone."""
        there = jnp.ones(scores.shape, jnp.float32)
        if token_set.keep is not None:
            there = jax.lax.stop_gradient(token_set.keep[:, token_set.protected :])
        found = there.sum(axis=1)  # (b,)
        if rate is None:
            counts = [_count(amount, each) for each in range(scores.shape[1] + 1)]
            count = jnp.array(counts)[found.astype(jnp.int32)]
        else:
            count = jnp.ceil(rate * found - _ROUNDING).astype(jnp.int32)
        ranked = jnp.where(there > 0, jax.lax.stop_gradient(scores), -jnp.inf)
        kept = token_selection.mark_best(ranked, count) * there
        if not self.fuses():
            return mark_patches(token_set, kept)
        return mark_fused(token_set, kept, there - kept, scores)


class EViT(TopK):
    """Fuses the patches that the class token attends to least; see the module."""

    fuse_token: Annotated[bool, "make one token of those that go"] = True

    def fuses(self) -> bool:
        """Return whether what goes becomes one token."""
        return self.fuse_token


def _count(amount: float | int, found: int) -> int:
    """Return how many patches stay of those found."""
    if isinstance(amount, int):
        return min(amount, found)
    return schedules.keep_of_found(amount, found)
