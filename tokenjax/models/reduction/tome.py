"""ToMe: in every block the most similar tokens merge, in pairs.

Between attention and MLP. Tokens are compared by their keys, the mean over heads; see
`ops.bipartite_matching`. What merged weighs by how many patches it stands for, also in
the attention (`prop_attn`): the logarithm of a key's size is added to its logits.

Without `reduction_loc` r tokens merge in every block (`schedules.spread_merges`); with
it `keep_rate` says how many are left at the places, as in TokenReduction, which counts
the tokens that it planned to have, not those it has.

Nothing is trained. Source: Bolya et al. 2023 (arXiv 2210.09461); facebookresearch/ToMe.
Its block skips a layer scale and norms of queries and keys; they are computed here.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from tokenjax.arguments import COUNT, LARGEST_SIZE, at_least
from tokenjax.models.attention import Seen, Wanted
from tokenjax.models.reduction import schedules
from tokenjax.models.reduction.reducer import EncoderFacts, Place, Reducer
from tokenjax.models.reduction.token_set import Reduction, TokenSet, merge_set
from tokenjax.ops import bipartite_matching


class ToMe(Reducer):
    """Merges the most similar tokens; see the module."""

    r: Annotated[
        int | tuple[int, ...] | tuple[int, float],
        at_least(-1, LARGEST_SIZE),
        "tokens that merge in each block: one number, (r, inflection), or one each",
    ] = 8
    prop_attn: Annotated[
        bool, "add the logarithm of a token's size to the logits of its key"
    ] = True
    keep_rate: Annotated[
        float | tuple[int | float, ...] | None,
        at_least(0, LARGEST_SIZE),
        "with reduction_loc: share of the patches left at each, or numbers of patches",
    ] = None
    reduction_loc: Annotated[
        tuple[int, ...] | None, COUNT, "the blocks that keep_rate is for, from 0"
    ] = None

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        alone = (self.keep_rate is None) != (self.reduction_loc is None)
        return [
            (alone, "keep_rate and reduction_loc go together"),
            *schedules.place_problems(self.reduction_loc),
        ]

    def wants(self) -> tuple[Wanted, ...]:
        """Return the keys."""
        return ("keys",)

    def biases_by_size(self) -> bool:
        """Return whether attention is proportional."""
        return self.prop_attn

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, Any]:
        """Return how many merge in each block that merges any."""
        if self.reduction_loc is None or self.keep_rate is None:
            asked = schedules.spread_merges(self.r, encoder.depth)
            schedules.limit_merges(asked, encoder.tokens, encoder.protected)
            merges = dict(enumerate(asked))
        else:
            places = self.reduction_loc
            counts = schedules.count_at_places(
                self.keep_rate, len(places), encoder.patches
            )
            found = schedules.merge_to_counts(counts, encoder.patches)
            merges = dict(zip(places, found, strict=True))
        return {block: count for block, count in merges.items() if count}

    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Merge."""
        del train
        metric = seen.ask("keys").mean(axis=1)  # (b, n, d)
        plan = bipartite_matching.match_halves(
            metric, place.amount, token_set.protected
        )
        left, step = merge_set(token_set, plan)
        return left, Reduction(step)
