"""PiToMe: patches that are like many others merge first, those like few are protected.

Between attention and MLP of every block. Patches are compared by their keys, the mean
over heads; their energy says how many are like them, beyond a margin that falls from
0.75 in the first block by 0.75 / depth a block; see `ops.energy_matching`. In one half
of the blocks all patches take part and the most similar pairs merge, in the other the
patches of highest energy alone; the former half is the first, or the second where the
head reads the mean of the patches.

r = floor(m - m ratio) of the m patches found merge, at most half of them. (The original
fails where ratio is much below 0.5, and where r comes to 0.) Its attention never sees
the sizes, though it keeps count of them: `prop_attn` gives them to it, as in ToMe. A
distillation token is protected; there it is merged as a patch.

Nothing is trained. Source: Tran et al. 2024 (arXiv 2405.16148), hchautran/PiToMe.
"""

from collections.abc import Mapping
from typing import Annotated

from tokenjax.arguments import above
from tokenjax.models.attention import Seen, Wanted
from tokenjax.models.reduction import schedules
from tokenjax.models.reduction.reducer import EncoderFacts, Place, Reducer
from tokenjax.models.reduction.token_set import Reduction, TokenSet, merge_set
from tokenjax.ops import energy_matching, similarity, token_merging

FIRST_MARGIN = 0.75


class PiToMe(Reducer):
    """Merges the patches of most energy; see the module."""

    ratio: Annotated[
        float, above(0), "share of the patches found that each block leaves"
    ] = 0.9
    prop_attn: Annotated[
        bool, "add the logarithm of a token's size to the logits of its key"
    ] = False

    def wants(self) -> tuple[Wanted, ...]:
        """Return the keys."""
        return ("keys",)

    def biases_by_size(self) -> bool:
        """Return whether attention is proportional."""
        return self.prop_attn

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, float]:
        """Return the share that every block leaves."""
        if self.ratio >= 1:
            return {}
        return dict.fromkeys(range(encoder.depth), self.ratio)

    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Merge."""
        del train
        batch, num_tokens, _ = token_set.tokens.shape
        lead = token_set.protected
        found = num_tokens - lead
        count = min(schedules.remove_for_ratio(place.amount, found), found // 2)
        keys = seen.ask("keys")[:, :, lead:].mean(axis=1)  # (b, m, d)
        unit = similarity.unit_vectors(keys)
        depth = place.encoder.depth
        margin = FIRST_MARGIN - FIRST_MARGIN * place.block / depth
        energy = energy_matching.find_energy(unit, margin)
        early = place.block < (depth + 1) // 2
        if not count:
            plan = token_merging.keep_all(batch, num_tokens)
        elif early == (place.encoder.pool == "token"):
            plan = energy_matching.merge_matched(unit, energy, count, lead)
        else:
            plan = energy_matching.merge_paired(unit, energy, count, lead)
        left, step = merge_set(token_set, plan)
        return left, Reduction(step, energy)
