"""DiffRate: each block keeps its own number of tokens, some pruned and some merged.

Between attention and MLP of every block. The patches are put in the order of the class
token's attention to them, the largest first, also where nothing goes; then

    the first K_p tokens stay           prune_kept, protected ones counted
    of these all from K_m on merge      merge_kept, likewise, each into the one of the
                                        first K_m that it is most like

see `ops.ranked_merging`. A count that leaves what is found changes nothing. Attention
adds the logarithm of a key's size. A merged token adds its size times its cosine, so
sizes are no whole numbers; where one comes to 0 or less (its logarithm is NaN in the
original) it is `SMALLEST_SIZE`, so that nobody looks at that token.

The counts are found by training with `search=True`, see `reduction.count_search`.
Without counts those found for DeiT-S at 2.9 GFLOPs are used, for 12 blocks and 196
patches, and for other encoders in proportion; where the head reads the mean of the
patches, their last block, which leaves almost none, keeps what it finds.

Source: Chen et al. 2023 (arXiv 2305.17997), OpenGVLab/DiffRate. There a distillation
token is a patch, here it is protected.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import COUNT, NOT_NEGATIVE, NOT_OF_WEIGHTS, SIZE, above
from tokenjax.errors import UserError
from tokenjax.models.attention import Seen, Wanted
from tokenjax.models.reduction import count_search, schedules
from tokenjax.models.reduction.count_search import Counted, CountSearch
from tokenjax.models.reduction.reducer import (
    EncoderFacts,
    Place,
    Reducer,
    TorchLayer,
)
from tokenjax.models.reduction.token_set import (
    Reduction,
    TokenSet,
    move_set,
    select_set,
)
from tokenjax.ops import ranked_merging
from tokenjax.ops.attention import MaskedSoftmax
from tokenjax.ops.masked_attention import policy_softmax

SMALLEST_SIZE = 1e-6
# DeiT-S at 2.9 GFLOPs: counts with the class token, of 197 tokens.
_PRUNE_KEPT = (197, 196, 190, 168, 150, 139, 129, 117, 99, 78, 58, 3)
_MERGE_KEPT = (197, 194, 176, 156, 141, 133, 121, 107, 88, 64, 56, 3)
_PATCHES = 196


class DiffRate(Reducer):
    """Prunes and merges to a number of tokens by block; see the module."""

    prune_kept: Annotated[
        tuple[int, ...] | None, COUNT, "tokens that pruning leaves, by block"
    ] = None
    merge_kept: Annotated[
        tuple[int, ...] | None, COUNT, "tokens that merging leaves, by block"
    ] = None
    search: Annotated[bool, "learn the counts, which then are not given"] = False
    target_gflops: Annotated[
        float | None,
        above(0),
        NOT_OF_WEIGHTS,
        "of the search: 10^9 multiply-adds of an image",
    ] = None
    flops_weight: Annotated[
        float, NOT_NEGATIVE, NOT_OF_WEIGHTS, "of the search: of the loss of FLOPs"
    ] = 5.0
    granularity: Annotated[
        int, SIZE, "of the search: from one candidate count to the next"
    ] = 1
    counted: Annotated[
        Counted,
        NOT_OF_WEIGHTS,
        "of the search: FLOPs with the network's MLP, or four times as wide as a token",
    ] = "exact"
    needs_class_token: ClassVar[bool] = True

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        alone = (self.prune_kept is None) != (self.merge_kept is None)
        given = self.search and self.prune_kept is not None
        aimless = self.search and self.target_gflops is None
        return [
            (alone, "prune_kept and merge_kept go together"),
            (given, "search finds prune_kept and merge_kept: leave them out"),
            (aimless, "search needs target_gflops, 10^9 multiply-adds of an image"),
        ]

    def wants(self) -> tuple[Wanted, ...]:
        """Return the class token's attention."""
        return ("class_attention",)

    def biases_by_size(self) -> bool:
        """Return that attention is proportional."""
        return True

    def masked_softmax(self) -> MaskedSoftmax:
        """Return the softmax under a policy, the search's."""
        return policy_softmax

    def start(self, token_set: TokenSet, train: bool) -> TokenSet:
        """Prepare a search."""
        del train
        return count_search.start_search(token_set) if self.search else token_set

    @nn.nowrap
    def step(self, place: Place) -> Reducer:
        """Return what acts at a place: this, or the search."""
        if not self.search:
            return super().step(place)
        return CountSearch(
            granularity=self.granularity,
            target_gflops=self.target_gflops or 0.0,
            flops_weight=self.flops_weight,
            counted=self.counted,
            parent=None,
        )

    def torch_layers(self, encoder: EncoderFacts) -> list[TorchLayer]:
        """Return the scores of a search as PyTorch names them."""
        return count_search.name_layers(encoder) if self.search else []

    def find_arguments(
        self, params: Mapping[int, Mapping[str, Any]], encoder: EncoderFacts
    ) -> Mapping[str, Any]:
        """Return the counts that a search found."""
        if not self.search:
            return {}
        return count_search.read_counts(params, self.granularity, encoder)

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, Any]:
        """Return (K_p, K_m) of every block; a search has them still to find."""
        if self.search:
            blocks = range(encoder.depth)
            if not any(count_search.has_choice(block, encoder) for block in blocks):
                raise UserError(
                    "reduction: diffrate searches in all blocks but the first (and the "
                    "last where the mean of the patches is read): this model has none"
                )
            return dict.fromkeys(blocks)
        if self.prune_kept is None or self.merge_kept is None:
            both = [_scale(counts, encoder) for counts in (_PRUNE_KEPT, _MERGE_KEPT)]
        else:
            both = [
                _check(self.prune_kept, "prune_kept", encoder),
                _check(self.merge_kept, "merge_kept", encoder),
            ]
        return dict(enumerate(zip(*both, strict=True)))

    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Prune and merge."""
        del train
        lead, tokens = token_set.protected, token_set.tokens
        scores = seen.ask("class_attention")[:, :, lead:].mean(axis=1)  # (b, m)
        prune_kept, merge_kept = place.amount
        staying = min(prune_kept, tokens.shape[1])
        plan = ranked_merging.select_best(scores, staying - lead, lead)
        if merge_kept >= staying:
            left, step = select_set(token_set, plan.kept)
            return left, Reduction(step, scores)
        plan, cosines = ranked_merging.merge_tail(plan.kept, tokens, merge_kept, lead)
        means, sizes = ranked_merging.merge_plainly(
            plan, tokens, token_set.sizes, cosines
        )
        sizes = jnp.maximum(sizes, SMALLEST_SIZE)
        left, step = move_set(token_set, plan, tokens=means, sizes=sizes)
        return left, Reduction(step, scores)


def _check(counts: Sequence[int], key: str, encoder: EncoderFacts) -> list[int]:
    """Return the counts of an encoder's blocks, if they are some."""
    counts = schedules.counts_of_blocks(counts, encoder.depth, key)
    if min(counts) <= encoder.protected:
        raise UserError(
            f"reduction: {key} = {min(counts)} leaves no patch: it counts the "
            f"{encoder.protected} that always stay"
        )
    return counts


def _scale(counts: Sequence[int], encoder: EncoderFacts) -> list[int]:
    """Return counts of 197 tokens in proportion to an encoder's depth and patches."""
    shares = (np.array(counts) - 1) / _PATCHES
    if encoder.pool == "avg":
        shares[-1] = shares[-2]
    places = np.linspace(0, len(counts) - 1, encoder.depth)
    left = np.interp(places, np.arange(len(counts)), shares) * encoder.patches
    return [encoder.protected + max(1, round(patches)) for patches in left]
