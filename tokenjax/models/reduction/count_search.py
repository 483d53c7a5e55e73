"""DiffRate's search for the counts of each block, by the gradient.

The network is frozen; what learns are two scores of every candidate count p, p -
granularity, ... in every block, for K_p and for K_m (`ops.differentiable_count`). The
first block keeps all, and so does the last where the head reads the mean of the
patches. Of the tokens, ordered as at inference, none is taken away:

    keep *= mask of K_p        where it is below those left;  left = min(left, K_p)
    tokens K_m ... left - 1 merge into the first K_m, and stay where they were
    keep *= mask of K_m        likewise;                      left = min(left, K_m)

and all blocks attend under `policy_softmax`. A merged token adds 1 to a size at least,
which it need not at inference.

    loss "flops" = flops_weight (GFLOPs - target_gflops)^2
    FLOPs = n p' c + c classes + sum over blocks of 4 n c^2 + 2 n^2 c + 2 n_left c h

(multiply-adds; p' numbers in a patch, h channels inside the MLP). Their gradient goes
to both counts of a block, whichever is smaller.

Axes: batch b, tokens n = protected P + patches m, heads h, dim c.

Source: Chen et al. 2023 (arXiv 2305.17997), OpenGVLab/DiffRate, which counts h = 4 c
whatever the network's: `counted="recorded"`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tokenjax.models.attention import Seen, Wanted
from tokenjax.models.reduction.reducer import (
    EncoderFacts,
    Place,
    Reducer,
    TorchLayer,
)
from tokenjax.models.reduction.token_set import Reduction, TokenSet
from tokenjax.ops import (
    differentiable_count,
    ranked_merging,
    token_merging,
    token_selection,
)
from tokenjax.ops.straight_through import straight_through

Counted = Literal["exact", "recorded"]
SCORES = ("prune_scores", "merge_scores")
_TORCH = ("prune_ddp.selected_probability", "merge_ddp.selected_probability")


class Progress(NamedTuple):
    """What the search carries from block to block."""

    left: jax.Array  # (), tokens that are left, with a gradient
    flops: jax.Array  # (), so far, likewise


class CountSearch(Reducer):
    """Learns how many tokens a block keeps; see the module.

    Attributes:
      granularity: from one candidate to the next.
      target_gflops: multiply-adds of an image, in 10^9.
      flops_weight: of the loss.
      counted: with which MLP.
    """

    granularity: int = 1
    target_gflops: float = 0.0
    flops_weight: float = 5.0
    counted: Counted = "exact"
    learns: ClassVar[bool] = True

    def wants(self) -> tuple[Wanted, ...]:
        """Return the class token's attention."""
        return ("class_attention",)

    @nn.compact
    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Choose counts, and mark what goes."""
        del train
        assert token_set.keep is not None
        lead, before = token_set.protected, token_set.memory
        scores = seen.ask("class_attention")[:, :, lead:].mean(axis=1)  # (b, m)
        there = jax.lax.stop_gradient(token_set.keep[:, lead:]) > 0
        ranked = jnp.where(there, jax.lax.stop_gradient(scores), -jnp.inf)
        order = token_selection.lead_with_protected(
            token_selection.rank_tokens(ranked, ranked.shape[1]), lead
        )  # (b, n)
        counts = self._choose(place, order.shape[1])
        token_set, step = _reduce(token_set, order, counts, before.left)
        prune, merge = (each.kept for each in counts)
        smallest = jnp.minimum(jnp.minimum(before.left, prune), merge)
        left = straight_through(smallest, prune + merge)
        facts = place.encoder
        flops = before.flops + self._count_block(before.left, left, facts)
        token_set = token_set.replace(memory=Progress(left, flops))
        losses = {}
        if place.block == facts.depth - 1:
            gflops = (flops + _count_ends(facts)) / 1e9
            losses["flops"] = self.flops_weight * (gflops - self.target_gflops) ** 2
        more = {
            "mask": token_set.present(),
            "prune_kept": prune.astype(jnp.int32),
            "merge_kept": merge.astype(jnp.int32),
        }
        return token_set, Reduction(step, scores, losses, more)

    def _choose(self, place: Place, num_tokens: int) -> "tuple[Choice, Choice]":
        """Return the counts of pruning and of merging."""
        facts = place.encoder
        if not has_choice(place.block, facts):
            everything = Choice(jnp.float32(num_tokens), jnp.ones(num_tokens))
            return everything, everything
        candidates = differentiable_count.list_candidates(
            facts.patches, self.granularity
        )
        found = []
        for name in SCORES:
            scores = self.param(name, nn.initializers.zeros, candidates.shape)
            found.append(
                Choice(
                    differentiable_count.expect_count(
                        scores, candidates, facts.protected
                    ),
                    differentiable_count.find_chances(
                        scores, candidates, num_tokens, facts.protected
                    ),
                )
            )
        return found[0], found[1]

    def _count_block(
        self, found: jax.Array, left: jax.Array, facts: EncoderFacts
    ) -> jax.Array:
        """Return the multiply-adds of a block that finds so many tokens."""
        width = facts.width
        hidden = facts.hidden if self.counted == "exact" else 4 * width
        attention = 4 * width**2 * found + 2 * width * found**2
        return attention + 2 * width * hidden * left


class Choice(NamedTuple):
    """How many tokens stay, and the chance of each position to."""

    kept: jax.Array  # (), whole, with a gradient
    chances: jax.Array  # (n,)

    def mask(self, left: jax.Array) -> jax.Array:
        """Return 0 for those of the first `left` positions that go, else 1: (n,)."""
        mask = differentiable_count.mark_kept(self.kept, self.chances, left)
        return jnp.where(self.kept < left, mask, 1.0)


def start_search(token_set: TokenSet) -> TokenSet:
    """Prepare the first tokens (b, n, c): all are there, and stand for one."""
    ones = jnp.ones(token_set.tokens.shape[:2], jnp.float32)
    progress = Progress(jnp.float32(ones.shape[1]), jnp.float32(0))
    return token_set.replace(keep=ones, sizes=ones, memory=progress)


def has_choice(block: int, facts: EncoderFacts) -> bool:
    """Return whether there is more than one candidate in a block."""
    last = facts.pool == "avg" and block == facts.depth - 1
    return block > 0 and not last


def name_layers(facts: EncoderFacts) -> list[TorchLayer]:
    """Return the scores as PyTorch names them, see `Reducer.torch_layers`."""
    return [
        TorchLayer(block, "array", f"blocks.{block}.{key}", name)
        for block in range(facts.depth)
        if has_choice(block, facts)
        for key, name in zip(_TORCH, SCORES, strict=True)
    ]


def read_counts(
    scores: Mapping[int, Mapping[str, ArrayLike]], granularity: int, facts: EncoderFacts
) -> dict[str, tuple[int, ...]]:
    """Return the counts that were found, as `DiffRate` takes them.

    Args:
      scores: by block, of those with a choice, by name.
      granularity: as in the search.
      facts: of the encoder.
    """
    candidates = differentiable_count.list_candidates(facts.patches, granularity)
    found: dict[str, tuple[int, ...]] = {}
    for key, name in zip(("prune_kept", "merge_kept"), SCORES, strict=True):
        counts = [facts.tokens] * facts.depth
        for block, learned in scores.items():
            count = differentiable_count.expect_count(
                jnp.asarray(learned[name]), candidates, facts.protected
            )
            counts[block] = int(np.asarray(count))
        found[key] = tuple(counts)
    return found


def _reduce(
    token_set: TokenSet, order: jax.Array, counts: tuple[Choice, Choice], left: Any
) -> tuple[TokenSet, jax.Array]:
    """Put tokens in order, mark those that go, merge; the memory stays."""
    left = jax.lax.stop_gradient(left)
    prune, merge = counts
    gather = token_selection.gather_tokens
    assert token_set.sizes is not None
    assert token_set.keep is not None
    tokens, sizes = gather(token_set.tokens, order), gather(token_set.sizes, order)
    keep = gather(token_set.keep, order) * prune.mask(left)
    left = jnp.minimum(left, jax.lax.stop_gradient(prune.kept))
    kept = jax.lax.stop_gradient(merge.kept)
    tokens, sizes, to = ranked_merging.merge_tail_in_place(
        tokens, sizes, kept, left, token_set.protected
    )
    keep *= merge.mask(left)
    position = jnp.arange(order.shape[1], dtype=jnp.int32)
    staying = position < jnp.minimum(kept, left)
    went = gather(jnp.where(staying, position, to), jnp.argsort(order, axis=-1))
    source_map = token_merging.compose_maps(token_set.source_map, went)
    token_set = token_set.replace(
        tokens=tokens, sizes=sizes, keep=keep, source_map=source_map
    )
    return token_set, went


def _count_ends(facts: EncoderFacts) -> int:
    """Return the multiply-adds before and after the blocks."""
    embedding = facts.tokens * facts.patch_inputs * facts.width
    return embedding + facts.width * facts.classes
